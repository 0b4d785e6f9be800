// The store in PostgreSQL: accepts and round trips on one node and on three, what nodes and database spend on them, and how often the database commits and syncs.
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench, Row } from '../support/bench.ts';
import type { Figure } from '../support/figures.ts';
import { type Load, startLoad } from '../support/load.ts';
import { loadFigures, type LoadTargets } from '../support/load-figures.ts';
import { type LoadKind, loadNodes, type Nodes, type NodesSample, startNodes } from '../support/nodes.ts';
import { difference, type Written } from '../support/postgres.ts';
import { postgresMissing } from '../../test/support/postgres.ts';
import { ratioFigure } from '../support/ratio.ts';

const row = 'postgres';
const warmUpSeconds = 2;
const idleMs = 10_000;
/** What three nodes may cost over one. */
const mostCostlier = 1.1;

interface Case {
  kind: LoadKind;
  connections: number;
  /** Three nodes get three times as many; otherwise the same number is divided among them. */
  perNode?: true;
  /** For one node. */
  targets?: LoadTargets;
  /** Whether three nodes must not cost more than one; with one request in flight the polls of idle nodes are most of the cost. */
  flat: boolean;
}

const cases: readonly Case[] = [
  { kind: 'accept', connections: 64, targets: { perSecond: { atLeast: 12_000 } }, flat: true },
  { kind: 'accept', connections: 64, perNode: true, flat: true },
  { kind: 'e2e', connections: 64, targets: { perSecond: { atLeast: 10_000 } }, flat: true },
  { kind: 'e2e', connections: 64, perNode: true, flat: true },
  { kind: 'e2e', connections: 512, flat: true },
  { kind: 'e2e', connections: 1, flat: false },
];
const caseName = ({ kind, connections, perNode }: Case): string =>
  `${kind}, ${connections} in flight${perNode ? ' per node' : ''}`;

const setups = ['1 node', '3 nodes'] as const;
type Setup = (typeof setups)[number];
type Both<T> = Record<Setup, T>;

async function inBoth<T>(work: (setup: Setup) => Promise<T>): Promise<Both<T>> {
  return { '1 node': await work('1 node'), '3 nodes': await work('3 nodes') };
}

/** What the database wrote for the operations of one case, on one setup. */
function writtenFigures(name: string, version: string, written: Written, operations: number): Figure[] {
  const per = (count: number): number[] => [count / operations];
  const note = `PostgreSQL ${version}`;
  return [
    { row, case: name, what: 'transactions per operation', unit: '', values: per(written.transactions), note },
    { row, case: name, what: 'commits that write per operation', unit: '', values: per(written.writes), note },
    { row, case: name, what: 'WAL syncs per operation', unit: '', values: per(written.walSyncs), note },
    { row, case: name, what: 'WAL per operation', unit: 'bytes', values: per(written.walBytes), note },
  ];
}

function ratioFigures(measured: Case, rounds: readonly Both<NodesSample>[]): Figure[] {
  const keys = { nodeCpuPer10k: 'node CPU, 3 nodes / 1 node', databaseCpuPer10k: 'database CPU, 3 nodes / 1 node' };
  return (Object.keys(keys) as (keyof typeof keys)[]).map((key) =>
    ratioFigure({
      row,
      case: caseName(measured),
      what: keys[key],
      of: rounds.map((round) => round['3 nodes'][key]),
      to: rounds.map((round) => round['1 node'][key]),
      ...(measured.flat ? { target: { atMost: mostCostlier } } : {}),
    }),
  );
}

async function measureCase(bench: Bench, load: Load, nodes: Both<Nodes>, measured: Case): Promise<Figure[]> {
  const { kind, perNode, targets = {} } = measured;
  const name = caseName(measured);
  const operations: Both<number> = { '1 node': 0, '3 nodes': 0 };
  const run = async (setup: Setup): Promise<NodesSample> => {
    const { seconds } = bench.options;
    const connections = measured.connections * (perNode ? nodes[setup].nodes.length : 1);
    const sample = await loadNodes(bench, { load, nodes: nodes[setup], kind, connections, seconds });
    operations[setup] += sample.operations;
    return sample;
  };
  bench.step(`postgres: ${name}, waiting for the statistics of before`);
  const before = await Promise.all(setups.map((setup) => nodes[setup].postgres.settled()));
  // Who goes first changes, so that neither always finds what the other has left to do.
  const rounds = await bench.repeat(`postgres: ${name}, 1 node and 3 in turn`, async (turn) => {
    if (turn % 2 === 1) return inBoth(run);
    const three = await run('3 nodes');
    return { '1 node': await run('1 node'), '3 nodes': three };
  });
  bench.step(`postgres: ${name}, waiting for the statistics`);
  const after = await Promise.all(setups.map((setup) => nodes[setup].postgres.settled()));
  return [
    ...ratioFigures(measured, rounds),
    ...setups.flatMap((setup, i) => [
      ...writtenFigures(
        `${name}, ${setup}`,
        nodes[setup].postgres.version,
        difference(after[i]!, before[i]!),
        operations[setup],
      ),
      ...loadFigures({
        row,
        name: `${name}, ${setup}`,
        samples: rounds.map((round) => round[setup]),
        targets: setup === '1 node' ? targets : {},
      }),
    ]),
  ];
}

/** What nodes and database do when nobody asks for anything. */
async function measureIdle(bench: Bench, setup: Setup, { nodes, postgres }: Nodes): Promise<Figure[]> {
  bench.step(`postgres: ${setup}, idle`);
  const { cpu } = await bench.measure([postgres.cpuSeconds, ...nodes.map((node) => node.pid)], () => pause(idleMs));
  const [database = 0, ...own] = cpu.map((seconds) => seconds / (idleMs / 1000));
  const figure = { row, case: `idle, ${setup}`, unit: '% of a core' };
  return [
    { ...figure, what: 'nodes', values: [own.reduce((sum, each) => sum + each, 0) * 100] },
    { ...figure, what: 'database', values: [database * 100] },
  ];
}

export const postgresRow: Row = {
  name: row,
  about: 'accept and e2e on PostgreSQL, 1 node and 3: rates, CPU of nodes and database apart, commits, WAL syncs',
  async run(bench) {
    const skipped = postgresMissing();
    if (skipped) return [{ row, case: 'all', what: 'rates', unit: 'per s', values: [], skipped }];
    const load = await startLoad(bench.children);
    bench.step('postgres: starting two databases, one node and three');
    // A database each: what idle nodes ask of theirs must not be counted for the other.
    const nodes = await inBoth((setup) => startNodes(bench, { count: Number.parseInt(setup, 10) }));
    bench.step('postgres: warming up');
    for (const setup of setups)
      for (const kind of ['accept', 'e2e'] as const)
        await loadNodes(bench, { load, nodes: nodes[setup], kind, connections: 64, seconds: warmUpSeconds });
    const figures: Figure[] = [];
    for (const each of cases.filter((c) => bench.wants(caseName(c))))
      figures.push(...(await measureCase(bench, load, nodes, each)));
    if (bench.wants('idle'))
      for (const setup of setups) figures.push(...(await measureIdle(bench, setup, nodes[setup])));
    for (const setup of setups) await nodes[setup].stop();
    await load.stop();
    return figures;
  },
};
