// The durable rows again on a disk that takes its time: 2 and 10 ms added to every sync, and 0 as the control for what tracing itself costs.
import type { Bench, Row } from '../support/bench.ts';
import type { Figure } from '../support/figures.ts';
import { type Load, startLoad } from '../support/load.ts';
import { loadFigures, type LoadSample, loadSample } from '../support/load-figures.ts';
import { postBytes } from '../support/payload.ts';
import { straceMissing } from '../support/strace.ts';
import { startWaitless, startWorker } from '../support/waitless.ts';
import { endToEnd, inFlight, inFlightName } from './e2e.ts';

const row = 'slow-disk';
const delaysMs = [0, 2, 10] as const;
const callers = 64;
const warmUpSeconds = 2;
const caseName = (delayMs: number): string => (delayMs === 0 ? 'traced, no delay' : `sync +${delayMs} ms`);

async function measureAt(bench: Bench, load: Load, delayMs: number): Promise<Figure[]> {
  // Two services: what the accept runs leave behind must not stand in the worker's queue.
  const server = await startWaitless(bench, {
    services: ['--pull', 'accepted', '--pull', 'worked'],
    tracing: { delaySyncsMs: delayMs },
  });
  const worker = await startWorker(bench, { port: server.port, service: 'worked' });
  // Half as long as elsewhere: three delays with four kinds of load each must end in two minutes.
  const seconds = bench.options.seconds / 2;
  const accept = async (length: number): Promise<LoadSample> => {
    const request = postBytes(server.port, '/v1/call/accepted/score');
    const { result, cpu } = await bench.measure([server.pid, load.pid, worker.pid], () =>
      load.run({ port: server.port, connections: callers, request, expect: { status: 202 }, seconds: length }),
    );
    return loadSample(result, cpu[0]!);
  };
  const work = (connections: number, length: number): Promise<LoadSample> =>
    endToEnd(bench, { load, server, worker, service: 'worked', connections, seconds: length });
  const kinds = [
    { name: `accept, ${inFlightName(callers)}`, sample: accept },
    ...inFlight.map((connections) => ({
      name: `e2e, ${inFlightName(connections)}`,
      sample: (length: number) => work(connections, length),
    })),
  ].filter(({ name }) => bench.wants(name));
  const figures: Figure[] = [];
  for (const { name, sample } of kinds) {
    await sample(warmUpSeconds);
    const samples = await bench.repeat(`slow-disk: ${caseName(delayMs)}, ${name}`, () => sample(seconds));
    figures.push(...loadFigures({ row, name: `${caseName(delayMs)}, ${name}`, samples }));
  }
  await worker.stop();
  await server.stop();
  bench.removeFolder(server.data);
  return figures;
}

export const slowDiskRow: Row = {
  name: row,
  about: 'accept and e2e with 2 and 10 ms added to every sync (strace)',
  async run(bench) {
    const skipped = await straceMissing();
    if (skipped) return [{ row, case: 'all', what: 'rates', unit: 'per s', values: [], skipped }];
    const load = await startLoad(bench.children);
    const figures: Figure[] = [];
    for (const delayMs of delaysMs) figures.push(...(await measureAt(bench, load, delayMs)));
    await load.stop();
    return figures;
  },
};
