// What somebody costs who watches and is told nothing.
import { setTimeout as pause } from 'node:timers/promises';
import type { Row } from '../support/bench.ts';
import { startWatchers, watchedOperation } from '../support/fanout.ts';
import { memoryMiB } from '../support/process-stats.ts';
import { metric, startWaitless } from '../support/waitless.ts';

const row = 'idle-watchers';
const count = 10_000;
const idleMs = 3000;
/** Two signs of life have gone to everyone. */
const settleMs = 31_000;

export const idleWatchersRow: Row = {
  name: row,
  about: 'resident memory with 10,000 idle watchers',
  async run(bench) {
    const values: number[] = [];
    for (let run = 1; run <= bench.options.runs; run++) {
      bench.step(`${row}: run ${run} of ${bench.options.runs}`);
      const server = await startWaitless(bench, { services: ['--pull', 'jobs'] });
      const { id } = await watchedOperation(server);
      await pause(idleMs);
      const before = memoryMiB(server.pid).rss;
      const path = `/v1/operations/${id}/events`;
      const watchers = await startWatchers(bench, { outlet: 'sse', port: server.port, path, count });
      await pause(settleMs);
      const waiting = await metric(server, 'waitless_waiters');
      if (waiting !== count) throw new Error(`${waiting} watch instead of ${count}`);
      values.push(((memoryMiB(server.pid).rss - before) * 1024) / count);
      await watchers.stop();
      await server.stop();
    }
    return [
      {
        row,
        case: `${count.toLocaleString('en-US')} watchers`,
        what: 'RSS over idle, each',
        unit: 'KB',
        values,
        target: { below: 16 },
        note: 'of the server, 30 s after the last one came',
      },
    ];
  },
};
