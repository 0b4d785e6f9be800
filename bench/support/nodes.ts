// Nodes of Waitless over one PostgreSQL, the worker that serves them all, and one run of load against them.
import type { Bench } from './bench.ts';
import type { Load } from './load.ts';
import { loadSample, per10k } from './load-figures.ts';
import { postBytes, replyBody } from './payload.ts';
import { type Postgres, startPostgres } from './postgres.ts';
import { startWaitless, startWorker, type Waitless } from './waitless.ts';

/** `accept`: submitted to a service without a worker; `e2e`: with `Prefer: wait` to one that has one. */
export type LoadKind = 'accept' | 'e2e';
export const serviceOf = { accept: 'accepted', e2e: 'jobs' } as const;

/** In every case, so that one node and three differ in nothing else: one connection to each of three. */
const workerConnections = 3;

export interface Nodes {
  postgres: Postgres;
  nodes: readonly Waitless[];
  worker: { pid: number };
  stop(): Promise<void>;
}

export interface NodesSample {
  operations: number;
  perSecond: number;
  nodeCpuPer10k: number;
  databaseCpuPer10k: number;
  p50: number;
  p99: number;
}

export async function startNodes(
  bench: Bench,
  {
    count,
    services = ['--pull', serviceOf.accept, '--pull', serviceOf.e2e],
    postgres,
  }: { count: number; services?: readonly string[]; postgres?: Postgres },
): Promise<Nodes> {
  const store = postgres ?? (await startPostgres(bench));
  const nodes: Waitless[] = [];
  for (let i = 0; i < count; i++) nodes.push(await startWaitless(bench, { services, data: store.url }));
  const ports = nodes.map((node) => node.port);
  const worker = await startWorker(bench, { port: ports, service: serviceOf.e2e, connections: workerConnections });
  return {
    postgres: store,
    nodes,
    worker,
    async stop() {
      await worker.stop();
      for (const node of nodes) await node.stop();
      await store.remove();
    },
  };
}

/** Connections are divided evenly among the nodes; every answer must be the expected one. */
export async function loadNodes(
  bench: Bench,
  {
    load,
    nodes: { nodes, postgres, worker },
    kind,
    connections,
    seconds,
  }: { load: Load; nodes: Nodes; kind: LoadKind; connections: number; seconds: number },
): Promise<NodesSample> {
  const port = nodes.map((node) => node.port);
  const path = `/v1/call/${serviceOf[kind]}/score`;
  const job =
    kind === 'accept'
      ? { request: postBytes(port[0]!, path), expect: { status: 202 } }
      : { request: postBytes(port[0]!, path, { Prefer: 'wait=30' }), expect: { status: 200, body: replyBody } };
  const pids = nodes.map((node) => node.pid);
  const { result, cpu } = await bench.measure([postgres.cpuSeconds, load.pid, worker.pid, ...pids], () =>
    load.run({ ...job, port, connections, seconds }),
  );
  const [databaseCpu = 0, , , ...nodeCpu] = cpu;
  const { cpuPer10k, ...sample } = loadSample(
    result,
    nodeCpu.reduce((sum, each) => sum + each, 0),
  );
  return {
    ...sample,
    operations: result.operations,
    nodeCpuPer10k: cpuPer10k,
    databaseCpuPer10k: per10k(databaseCpu, result.operations),
  };
}
