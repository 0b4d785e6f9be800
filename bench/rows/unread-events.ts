// A million stored events cost a subscriber nothing until it reads: publishes, looks at the subscription and memory, against a thousand.
import { setTimeout as pause } from 'node:timers/promises';
import { postgresEngine } from '../../packages/server/src/engines/postgres/engine.ts';
import { sqliteEngine } from '../../packages/server/src/engines/sqlite/engine.ts';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { postgresMissing } from '../../test/support/postgres.ts';
import type { Bench, Row } from '../support/bench.ts';
import type { Figure } from '../support/figures.ts';
import { startLoad } from '../support/load.ts';
import { loadFigures, type LoadSample, loadSample } from '../support/load-figures.ts';
import { getBytes, postBytes } from '../support/payload.ts';
import { startPostgres } from '../support/postgres.ts';
import { memoryMiB } from '../support/process-stats.ts';
import { ratioFigure } from '../support/ratio.ts';
import { writeStoredEvents } from '../support/stored-events.ts';
import { startWaitless, type Waitless } from '../support/waitless.ts';

const callers = 64;
const few = 1000;
const topic = 'orders.placed';
const warmUpSeconds = 2;
/** After the start, so that what only starting needs is gone from the figure. */
const idleMs = 3000;
const named = (count: number): string => count.toLocaleString('en-US');

/** A store of its own, empty. */
interface EmptyStore {
  data: string;
  engine: Engine;
  /** Once it is filled: what the store would do in the minutes after must not fall into the measurement. */
  settle(): Promise<unknown>;
  remove(): Promise<void>;
}

async function measure(bench: Bench, row: string, newStore: () => Promise<EmptyStore>): Promise<Figure[]> {
  const sizes = [few, bench.options.operations];
  const servers: Waitless[] = [];
  const stores: EmptyStore[] = [];
  const memory: number[] = [];
  for (const count of sizes) {
    const store = await newStore();
    stores.push(store);
    await writeStoredEvents({
      engine: store.engine,
      count,
      topic,
      subscription: 'late',
      onProgress: (stored) => bench.step(`${row}: ${named(stored)} of ${named(count)} events`),
    });
    await store.settle();
    const server = await startWaitless(bench, { services: ['--pull', 'jobs'], data: store.data });
    await pause(idleMs);
    memory.push(memoryMiB(server.pid).pss);
    servers.push(server);
  }
  const load = await startLoad(bench.children);
  const figures: Figure[] = sizes.map((count, i) => ({
    row,
    case: `${named(count)} events`,
    what: 'memory after the start',
    unit: 'MiB',
    values: [memory[i]!],
  }));
  const cases = [
    {
      name: 'publish',
      status: 202,
      request: (port: number) => postBytes(port, `/v1/topics/${topic}/events`),
    },
    {
      name: 'list of subscriptions',
      status: 200,
      request: (port: number) => getBytes(port, '/v1/subscriptions'),
    },
  ];
  for (const { name, status, request } of cases) {
    if (!bench.wants(name)) continue;
    const run = (i: number, seconds: number) => {
      const { port } = servers[i]!;
      return load.run({ port, connections: callers, request: request(port), expect: { status }, seconds });
    };
    for (const i of [0, 1]) await run(i, warmUpSeconds);
    const samples = await bench.repeat(`${row}: ${name}, both stores in turn`, async () => {
      const of: LoadSample[] = [];
      for (const [i, server] of servers.entries()) {
        const { result, cpu } = await bench.measure([server.pid, load.pid], () => run(i, bench.options.seconds));
        of.push(loadSample(result, cpu[0]!));
      }
      return of;
    });
    figures.push(
      ratioFigure({
        row,
        case: name,
        what: `server CPU, ${named(sizes[1]!)} events / ${named(few)}`,
        of: samples.map(([, many]) => many!.cpuPer10k),
        to: samples.map(([first]) => first!.cpuPer10k),
        target: { atMost: 1.1 },
      }),
      ...sizes.flatMap((count, i) =>
        loadFigures({ row, name: `${name}, ${named(count)} events`, samples: samples.map((of) => of[i]!) }),
      ),
    );
  }
  await load.stop();
  for (const server of servers) await server.stop();
  for (const store of stores) await store.remove();
  return figures;
}

export const unreadEventsRow: Row = {
  name: 'unread',
  about: 'publishes, looks at the subscription and memory with 1,000,000 events that it has not read, against 1,000',
  run: (bench) =>
    measure(bench, 'unread', async () => {
      const data = bench.newFolder();
      return {
        data,
        engine: sqliteEngine({ folder: data }),
        settle: async () => {},
        remove: async () => bench.removeFolder(data),
      };
    }),
};

export const unreadOnPostgresRow: Row = {
  name: 'unread-postgres',
  about: 'the same on PostgreSQL',
  async run(bench) {
    const row = 'unread-postgres';
    const skipped = postgresMissing();
    if (skipped) return [{ row, case: 'all', what: 'rates', unit: 'per s', values: [], skipped }];
    return measure(bench, row, async () => {
      const postgres = await startPostgres(bench);
      return {
        data: postgres.url,
        engine: postgresEngine({ url: postgres.url }),
        settle: () => postgres.query('VACUUM (ANALYZE)', 'CHECKPOINT'),
        remove: () => postgres.remove(),
      };
    });
  },
};
