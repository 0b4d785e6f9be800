// End to end: submit with `Prefer: wait`, one pull worker process, the worker's reply in the answer to the submit.
import type { Bench, Row } from '../support/bench.ts';
import type { Figure } from '../support/figures.ts';
import { type Load, startLoad } from '../support/load.ts';
import { loadFigures, type LoadSample, loadSample, type LoadTargets, per10k } from '../support/load-figures.ts';
import { postBytes, replyBody } from '../support/payload.ts';
import { startWaitless, startWorker } from '../support/waitless.ts';

const row = 'e2e';
const service = 'jobs';
const warmUpSeconds = 2;

export const inFlight = [64, 512, 1] as const;
export const inFlightName = (connections: number): string => `${connections} in flight`;

export interface EndToEndRun extends LoadSample {
  workerCpuPer10k: number;
}

/** One run; every answer must be the worker's reply. */
export async function endToEnd(
  bench: Bench,
  {
    load,
    server,
    worker,
    service: name,
    connections,
    seconds,
  }: {
    load: Load;
    server: { pid: number; port: number };
    worker: { pid: number };
    service: string;
    connections: number;
    seconds: number;
  },
): Promise<EndToEndRun> {
  const { port, pid } = server;
  const request = postBytes(port, `/v1/call/${name}/score`, { Prefer: 'wait=30' });
  const { result, cpu } = await bench.measure([pid, load.pid, worker.pid], () =>
    load.run({ port, connections, request, expect: { status: 200, body: replyBody }, seconds }),
  );
  return { ...loadSample(result, cpu[0]!), workerCpuPer10k: per10k(cpu[2]!, result.operations) };
}

function figuresOf(connections: number, runs: readonly EndToEndRun[]): Figure[] {
  const name = inFlightName(connections);
  const targets: LoadTargets =
    connections > 1 ? { perSecond: { atLeast: 15_000 }, cpuPer10k: { atMost: 0.6 } } : { p50: { atMost: 0.9 } };
  return [
    ...loadFigures({ row, name, samples: runs, targets }),
    { row, case: name, what: 'worker CPU per 10,000', unit: 's', values: runs.map((r) => r.workerCpuPer10k) },
  ];
}

export const e2eRow: Row = {
  name: row,
  about: 'submit with Prefer: wait, one pull worker, the result in the same answer, at 64, 512 and 1 in flight',
  async run(bench) {
    const load = await startLoad(bench.children);
    const server = await startWaitless(bench, { services: ['--pull', service] });
    const worker = await startWorker(bench, { port: server.port, service });
    const measured = (connections: number, seconds: number) =>
      endToEnd(bench, { load, server, worker, service, connections, seconds });
    bench.step('e2e: warming up');
    await measured(64, warmUpSeconds);
    const figures: Figure[] = [];
    for (const connections of inFlight) {
      if (!bench.wants(inFlightName(connections))) continue;
      const runs = await bench.repeat(`e2e: ${inFlightName(connections)}`, () =>
        measured(connections, bench.options.seconds),
      );
      figures.push(...figuresOf(connections, runs));
    }
    await worker.stop();
    await server.stop();
    await load.stop();
    bench.removeFolder(server.data);
    return figures;
  },
};
