// Webhooks: how many events a second reach a receiver that answers at once, through one subscription and through 20, on a file and on PostgreSQL.
import type { Bench, Row } from '../support/bench.ts';
import { type Child, firstMessage } from '../support/children.ts';
import type { Figure } from '../support/figures.ts';
import { requestOnce } from '../support/http-connection.ts';
import { loadFigures, per10k } from '../support/load-figures.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { startWaitless, type Waitless } from '../support/waitless.ts';
import { postgresMissing } from '../../test/support/postgres.ts';

const row = 'webhook-deliveries';
/** Of each run, over all subscriptions: the same number of deliveries, however many share them. */
const deliveries = 10_000;
const warmUpDeliveries = 2000;
const batchEvents = 500;
/** Of an event's data. */
const noteBytes = 200;
const topic = 'orders.placed';
/** A receiver that hears nothing for so long is one whose server hangs. */
const silenceMs = 60_000;

const cases = [
  { subscriptions: 1, ordered: false },
  { subscriptions: 20, ordered: false },
  { subscriptions: 1, ordered: true },
] as const;
type Case = (typeof cases)[number];

const stores = ['file', 'PostgreSQL'] as const;
type Store = (typeof stores)[number];

const caseName = ({ subscriptions, ordered }: Case, store: Store): string =>
  `${subscriptions} ${ordered ? 'ordered ' : ''}${subscriptions === 1 ? 'subscription' : 'subscriptions'}, ${store}`;

async function call({ port }: Waitless, line: string, { type = 'application/json', body = '' } = {}): Promise<void> {
  const request = `${line} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  const { status, body: answer } = await requestOnce(port, Buffer.from(request, 'utf8'));
  if (status >= 300) throw new Error(`${line} was answered ${status} ${answer}`);
}

/** So many events; each key has a few of them. */
async function publish(server: Waitless, { count, run }: { count: number; run: string }): Promise<void> {
  for (let first = 0; first < count; first += batchEvents) {
    const events = Array.from({ length: Math.min(batchEvents, count - first) }, (_, i) => ({
      specversion: '1.0',
      id: `${run}-${first + i}`,
      source: '/bench',
      type: 'order.placed',
      partitionkey: `key-${(first + i) % 200}`,
      data: { note: 'n'.repeat(noteBytes) },
    }));
    const batch = { type: 'application/cloudevents-batch+json', body: JSON.stringify(events) };
    await call(server, `POST /v1/topics/${topic}/events`, batch);
  }
}

/** Resolves when the receiver has answered so many more. */
function received(receiver: Child, more: number, before: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (): void => done(() => reject(new Error(`the receiver heard nothing for ${silenceMs / 1000} s`)));
    let timer = setTimeout(fail, silenceMs);
    const onCount = (count: number): void => {
      clearTimeout(timer);
      timer = setTimeout(fail, silenceMs);
      if (count >= before + more) done(() => resolve(count));
    };
    const done = (end: () => void): void => {
      clearTimeout(timer);
      receiver.process.off('message', onCount);
      end();
    };
    receiver.process.on('message', onCount);
  });
}

interface Sample {
  perSecond: number;
  cpuPer10k: number;
  nodeCpuPer10k?: number;
  databaseCpuPer10k?: number;
}

async function measureCase(
  bench: Bench,
  { of, store, postgres, secretKey }: { of: Case; store: Store; postgres: Postgres | undefined; secretKey: string },
): Promise<Figure[]> {
  const name = caseName(of, store);
  const receiver = bench.children.fork('./webhook-receiver.ts');
  const receiverPort = await firstMessage<number>(receiver, 'the receiver');
  const folder = bench.newFolder();
  const server = await startWaitless(bench, {
    services: ['--allow-network', '127.0.0.0/8', '--secret-key-file', secretKey],
    data: postgres?.url ?? folder,
  });
  const names = Array.from({ length: of.subscriptions }, (_, i) => `bench-${cases.indexOf(of) + 1}-${i + 1}`);
  const target = { url: `http://127.0.0.1:${receiverPort}/` };
  for (const one of names)
    await call(server, `PUT /v1/subscriptions/${one}`, {
      body: JSON.stringify({ topic: 'orders.*', target, ordered: of.ordered }),
    });
  let count = 0;
  /** What is measured begins when the subscriptions are resumed: publishing has a row of its own. */
  const deliver = async (number: number, run: string): Promise<Sample> => {
    const each = number / of.subscriptions;
    for (const one of names) await call(server, `POST /v1/subscriptions/${one}/pause`);
    // On PostgreSQL the cases share a database, in which an id is known for ten minutes.
    await publish(server, { count: each, run: `${cases.indexOf(of) + 1}-${run}` });
    const sources = [server.pid, ...(postgres ? [postgres.cpuSeconds] : [])];
    const { result: seconds, cpu } = await bench.measure(sources, async () => {
      const all = received(receiver, each * of.subscriptions, count);
      const begin = performance.now();
      for (const one of names) await call(server, `POST /v1/subscriptions/${one}/resume`);
      count = await all;
      return (performance.now() - begin) / 1000;
    });
    const [own = 0, database = 0] = cpu.map((spent) => per10k(spent, number));
    const cost = postgres ? { nodeCpuPer10k: own, databaseCpuPer10k: database } : {};
    return { perSecond: number / seconds, cpuPer10k: own + database, ...cost };
  };
  bench.step(`${row}: warming up, ${name}`);
  await deliver(warmUpDeliveries, 'warm-up');
  const samples = await bench.repeat(`${row}: ${name}`, (run) => deliver(deliveries, `run-${run}`));
  // Those of the next case share the database, and these are to cost nothing there.
  for (const one of names) await call(server, `POST /v1/subscriptions/${one}/pause`);
  await server.stop();
  await receiver.stop();
  bench.removeFolder(folder);
  return loadFigures({ row, name, samples });
}

export const webhookDeliveriesRow: Row = {
  name: row,
  about: 'events/s that reach a receiver through 1 and 20 webhook subscriptions, on a file and on PostgreSQL',
  async run(bench) {
    const figures: Figure[] = [];
    for (const store of stores) {
      const wanted = cases.filter((of) => bench.wants(caseName(of, store)));
      const skipped = store === 'PostgreSQL' && wanted.length > 0 ? postgresMissing() : undefined;
      if (skipped) {
        figures.push({ row, case: store, what: 'rate', unit: 'per s', values: [], skipped });
        continue;
      }
      const postgres = store === 'PostgreSQL' && wanted.length > 0 ? await startPostgres(bench) : undefined;
      // The signing secret of a database was sealed with it.
      const secretKey = bench.newFile('secret.key');
      for (const of of wanted) figures.push(...(await measureCase(bench, { of, store, postgres, secretKey })));
      await postgres?.remove();
    }
    return figures;
  },
};
