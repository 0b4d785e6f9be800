// How long it takes until somebody is told of an end that comes about when they begin to listen.
import type { Row } from '../support/bench.ts';
import { firstMessage } from '../support/children.ts';
import type { Figure } from '../support/figures.ts';
import { type ListenJob, outlets } from '../support/listeners.ts';
import { percentile } from '../support/statistics.ts';
import { startWaitless } from '../support/waitless.ts';

const row = 'notify';
/** Enough to be a crowd, and too few to be a queue. */
const atOnce = 16;

export const notifyRow: Row = {
  name: row,
  about:
    'delay from an end to being told of it, raced within 20 ms of beginning to listen by long-poll, SSE and WebSocket',
  async run(bench) {
    const server = await startWaitless(bench, { services: ['--pull', 'jobs'] });
    const listeners = bench.children.fork('./listeners.ts', [String(server.port)]);
    await firstMessage(listeners, 'the listener');
    const listen = (job: ListenJob): Promise<number[]> => {
      const delays = firstMessage<number[]>(listeners, 'the listener');
      listeners.process.send(job);
      return delays;
    };
    bench.step(`${row}: warming up`);
    for (const outlet of outlets) await listen({ outlet, atOnce, seconds: 1 });
    const figures: Figure[] = [];
    for (const outlet of outlets.filter((name) => bench.wants(name))) {
      const runs = await bench.repeat(`${row}: ${outlet}`, async () => {
        const { seconds } = bench.options;
        const measured = await bench.measure([server.pid, listeners.pid], () => listen({ outlet, atOnce, seconds }));
        return measured.result;
      });
      const at = (p: number): number[] => runs.map((delays) => percentile(delays, p));
      const ends = runs.reduce((sum, { length }) => sum + length, 0);
      figures.push(
        { row, case: outlet, what: 'delay p50', unit: 'ms', values: at(0.5), note: `${ends} ends, none missed` },
        { row, case: outlet, what: 'delay p99', unit: 'ms', values: at(0.99), target: { atMost: 100 } },
      );
    }
    await listeners.stop();
    await server.stop();
    bench.removeFolder(server.data);
    return figures;
  },
};
