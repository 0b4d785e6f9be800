// Whether old operations cost the new ones anything: the same load over a database that keeps 10,000 ended operations and one that keeps a million.
// Everything measured is removed a second after it has ended, so that both stay as large as they are, and a long run shows that no space is lost by that.
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { postgresMissing } from '../../test/support/postgres.ts';
import type { Bench, Row } from '../support/bench.ts';
import { writeEndedOperations } from '../support/ended-operations.ts';
import type { Figure } from '../support/figures.ts';
import { type Load, startLoad } from '../support/load.ts';
import { loadFigures } from '../support/load-figures.ts';
import { type LoadKind, loadNodes, type Nodes, type NodesSample, serviceOf, startNodes } from '../support/nodes.ts';
import { type Postgres, startPostgres, type TableSize } from '../support/postgres.ts';
import { ratioFigure } from '../support/ratio.ts';
import { metric, startWorker } from '../support/waitless.ts';

const row = 'kept';
const few = 10_000;
const connections = 64;
const warmUpSeconds = 2;
const keptService = 'kept';
const pollMs = 200;
const emptyWithinMs = 300_000;
/** Length of the long run, of which a third is longer than the minute after which autovacuum comes by again. */
const churnSeconds = 240;
/** What a hundred times as many rows may cost, and how much the store may grow from the second third of the long run to the last. */
const mostCostlier = 1.1;
const mostGrowth = 1.1;

const caseName = (kind: LoadKind): string => `${kind}, ${connections} in flight`;
const keptName = (kept: number): string => `${kept.toLocaleString('en-US')} kept`;
const mebibytes = (bytes: number): number => bytes / 2 ** 20;

interface Store {
  kept: number;
  nodes: Nodes;
  filled: TableSize[];
}

async function startStore(bench: Bench, kept: number): Promise<Store> {
  const postgres: Postgres = await startPostgres(bench);
  await writeEndedOperations({
    url: postgres.url,
    count: kept,
    service: keptService,
    onProgress: (ended) => bench.step(`kept: ${ended.toLocaleString('en-US')} of ${keptName(kept)}`),
  });
  // What autovacuum and the checkpointer would do in the minutes after such a fill must not fall into the measurement.
  await postgres.query('VACUUM (ANALYZE)', 'CHECKPOINT');
  const config = bench.newFile('waitless.yaml');
  const service = '{ target: { pull: true }, retention: 1s }';
  writeFileSync(config, `services:\n  ${serviceOf.accept}: ${service}\n  ${serviceOf.e2e}: ${service}\n`);
  const filled = await postgres.tables();
  return { kept, filled, nodes: await startNodes(bench, { count: 1, services: ['--config', config], postgres }) };
}

/** Lets a worker take what the accepts have left, and waits until nothing is there but what is kept. */
async function emptied(bench: Bench, { nodes: { nodes }, kept }: Store): Promise<void> {
  const node = nodes[0]!;
  const worker = await startWorker(bench, { port: node.port, service: serviceOf.accept });
  const giveUpAt = performance.now() + emptyWithinMs;
  for (;;) {
    const there = await metric(node, 'waitless_operations');
    if (there === kept) break;
    if (there < kept) throw new Error(`only ${there} of the ${kept} operations kept are there`);
    if (performance.now() > giveUpAt) throw new Error(`${there} operations are there instead of the ${kept} kept`);
    await pause(pollMs);
  }
  await worker.stop();
}

async function costs(bench: Bench, load: Load, stores: readonly Store[], kind: LoadKind): Promise<Figure[]> {
  const name = caseName(kind);
  const run = async (store: Store): Promise<NodesSample> => {
    const { seconds } = bench.options;
    const sample = await loadNodes(bench, { load, nodes: store.nodes, kind, connections, seconds });
    await emptied(bench, store);
    return sample;
  };
  const rounds = await bench.repeat(`kept: ${name}, both stores in turn`, async (turn) => {
    const samples: NodesSample[] = [];
    const order = turn % 2 === 1 ? [0, 1] : [1, 0];
    for (const i of order) samples[i] = await run(stores[i]!);
    return samples;
  });
  const keys = { nodeCpuPer10k: 'node CPU', databaseCpuPer10k: 'database CPU' };
  const ratios = (Object.keys(keys) as (keyof typeof keys)[]).map((key) =>
    ratioFigure({
      row,
      case: name,
      what: `${keys[key]}, ${keptName(stores[1]!.kept)} / ${keptName(few)}`,
      of: rounds.map(([, large]) => large![key]),
      to: rounds.map(([small]) => small![key]),
      target: { atMost: mostCostlier },
    }),
  );
  const loads = stores.flatMap(({ kept }, i) =>
    loadFigures({ row, name: `${name}, ${keptName(kept)}`, samples: rounds.map((samples) => samples[i]!) }),
  );
  return [...ratios, ...loads];
}

const bytesOf = (tables: readonly TableSize[]): number => tables.reduce((sum, table) => sum + table.bytes, 0);
const deadIn = (tables: readonly TableSize[]): number => tables.reduce((sum, table) => sum + table.dead, 0);

const describe = (tables: readonly TableSize[]): string =>
  tables
    .filter((table) => table.bytes > 2 ** 20)
    .map(
      ({ name, bytes, dead, vacuums }) =>
        `${name} ${mebibytes(bytes).toFixed(1)} MiB, ${Math.round(dead)} dead, ${vacuums} times vacuumed`,
    )
    .join('; ');

/** Insertion and removal at full speed for minutes. */
async function churn(bench: Bench, load: Load, store: Store): Promise<Figure[]> {
  const { nodes, kept } = store;
  const before = await nodes.postgres.tables();
  const sizes: TableSize[][] = [];
  let operations = 0;
  const { seconds } = bench.options;
  const parts = Math.max(3, Math.ceil(churnSeconds / seconds));
  for (let i = 1; i <= parts; i++) {
    bench.step(`kept: long run, part ${i} of ${parts}`);
    operations += (await loadNodes(bench, { load, nodes, kind: 'e2e', connections, seconds })).operations;
    sizes.push(await nodes.postgres.tables());
  }
  await emptied(bench, store);
  const after = await nodes.postgres.tables();
  const highest = (tables: readonly TableSize[][]): number => Math.max(...tables.map(bytesOf));
  const third = Math.floor(sizes.length / 3);
  const name = `${operations.toLocaleString('en-US')} came and went, ${keptName(kept)}`;
  const rest = { row, case: name, unit: '' };
  return [
    {
      ...rest,
      what: 'largest store, last third / second third',
      values: [highest(sizes.slice(-third)) / highest(sizes.slice(-2 * third, -third))],
      target: { atMost: mostGrowth },
    },
    { ...rest, what: 'store before', unit: 'MiB', values: [mebibytes(bytesOf(before))], note: describe(before) },
    { ...rest, what: 'store meanwhile', unit: 'MiB', values: sizes.map((tables) => mebibytes(bytesOf(tables))) },
    { ...rest, what: 'store after', unit: 'MiB', values: [mebibytes(bytesOf(after))], note: describe(after) },
    { ...rest, what: 'dead rows meanwhile', values: sizes.map(deadIn) },
  ];
}

export const keptRow: Row = {
  name: row,
  about:
    'cost per operation on PostgreSQL with 10,000 and 1,000,000 ended operations kept; space after many have come and gone',
  async run(bench) {
    const skipped = postgresMissing();
    if (skipped) return [{ row, case: 'all', what: 'rates', unit: 'per s', values: [], skipped }];
    const load = await startLoad(bench.children);
    const stores: Store[] = [];
    const kinds = (['accept', 'e2e'] as const).filter((kind) => bench.wants(caseName(kind)));
    // The long run needs only the small one.
    for (const kept of kinds.length > 0 ? [few, bench.options.operations] : [few])
      stores.push(await startStore(bench, kept));
    bench.step('kept: warming up');
    for (const store of stores) {
      for (const kind of ['accept', 'e2e'] as const)
        await loadNodes(bench, { load, nodes: store.nodes, kind, connections, seconds: warmUpSeconds });
      await emptied(bench, store);
    }
    const figures: Figure[] = stores.map(({ kept, filled }) => ({
      row,
      case: keptName(kept),
      what: 'store per operation kept',
      unit: 'bytes',
      values: [bytesOf(filled) / kept],
      note: describe(filled),
    }));
    for (const kind of kinds) figures.push(...(await costs(bench, load, stores, kind)));
    if (bench.wants('came and went')) figures.push(...(await churn(bench, load, stores[0]!)));
    for (const { nodes } of stores) await nodes.stop();
    await load.stop();
    return figures;
  },
};
