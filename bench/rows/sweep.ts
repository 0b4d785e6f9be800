// Forgetting a million old operations must not be felt by those who submit new ones.
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench, Row } from '../support/bench.ts';
import { requestOnce } from '../support/http-connection.ts';
import { type Load, startLoad } from '../support/load.ts';
import { writeOldOperations } from '../support/old-operations.ts';
import { loadFigures, type LoadSample, loadSample } from '../support/load-figures.ts';
import { postBytes } from '../support/payload.ts';
import { median } from '../support/statistics.ts';
import { metric, startWaitless, startWorker, type Waitless } from '../support/waitless.ts';

const row = 'sweep';
const services = ['--pull', 'jobs', '--pull', 'accepted'];
const callers = 64;
const warmUpSeconds = 2;
/** For writing the rows and starting the server, before the measurement in front of the sweep begins. */
const leadSeconds = 25;
const pollMs = 100;

interface Sample extends LoadSample {
  sweptAtEnd: number;
}

const swept = (server: Waitless): Promise<number> => metric(server, 'waitless_operations_removed_total');

/** A store with one ended operation, made by the server itself. */
async function makeTemplate(bench: Bench): Promise<string> {
  const server = await startWaitless(bench, { services });
  const worker = await startWorker(bench, { port: server.port, service: 'jobs' });
  const { status, body } = await requestOnce(
    server.port,
    postBytes(server.port, '/v1/call/jobs/score', { Prefer: 'wait=30' }),
  );
  if (status !== 200) throw new Error(`the operation to be copied was answered ${status} ${body}`);
  await worker.stop();
  await server.stop('SIGTERM');
  return server.data;
}

async function sample(bench: Bench, load: Load, server: Waitless, seconds: number): Promise<Sample> {
  const request = postBytes(server.port, '/v1/call/accepted/score');
  const { result, cpu } = await bench.measure([server.pid, load.pid], () =>
    load.run({ port: server.port, connections: callers, request, expect: { status: 202 }, seconds }),
  );
  return { ...loadSample(result, cpu[0]!), sweptAtEnd: await swept(server) };
}

export const sweepRow: Row = {
  name: row,
  about: 'accept p99 at 64 callers while 1,000,000 expired operations are swept, against normal',
  async run(bench) {
    const { operations, runs, seconds } = bench.options;
    bench.step('sweep: making the operation that is copied');
    const data = await makeTemplate(bench);
    bench.step(`sweep: writing ${operations.toLocaleString('en-US')} old operations`);
    const dueAt = writeOldOperations({
      data,
      count: operations,
      dueAt: () => Date.now() + (leadSeconds + warmUpSeconds + 2 * runs * (seconds + 1)) * 1000,
    });
    const load = await startLoad(bench.children);
    const server = await startWaitless(bench, { services, data });
    bench.step('sweep: warming up');
    await sample(bench, load, server, warmUpSeconds);
    const normal = await bench.repeat('sweep: normal', () => sample(bench, load, server, seconds));
    if ((await swept(server)) > 0 || Date.now() > dueAt)
      throw new Error(
        'the old operations were due before the normal runs had ended: this machine is too slow for the time allowed',
      );
    bench.step('sweep: waiting for the old operations to expire');
    while ((await swept(server)) === 0) await pause(pollMs);
    const started = performance.now();
    const sweptAtStart = await swept(server);
    const during = await bench.repeat('sweep: sweeping', () => sample(bench, load, server, seconds));
    const perSecond = ((await swept(server)) - sweptAtStart) / ((performance.now() - started) / 1000);
    // A run in which the sweep ended, or that came after its end, is no run beside a sweep.
    const sweeping = during.filter((s) => s.sweptAtEnd < operations);
    await server.stop();
    await load.stop();
    bench.removeFolder(data);
    if (sweeping.length === 0)
      throw new Error(
        'the sweep was over before a whole run could be measured: give more --operations or fewer --seconds',
      );
    const ratio = median(sweeping.map((s) => s.p99)) / median(normal.map((s) => s.p99));
    return [
      {
        row,
        case: `${operations.toLocaleString('en-US')} old`,
        what: 'accept p99, sweeping / normal',
        unit: '',
        values: [ratio],
        target: { below: 2 },
        note: `swept ${Math.round(perSecond).toLocaleString('en-US')} per s under load`,
      },
      ...loadFigures({ row, name: 'normal', samples: normal }),
      ...loadFigures({ row, name: 'sweeping', samples: sweeping }),
    ];
  },
};
