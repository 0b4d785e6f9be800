// What a million waiting operations cost in memory, and how long after a kill the next one is accepted.
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench, Row } from '../support/bench.ts';
import type { Figure } from '../support/figures.ts';
import { requestOnce } from '../support/http-connection.ts';
import { startLoad } from '../support/load.ts';
import { postBytes } from '../support/payload.ts';
import { memoryMiB } from '../support/process-stats.ts';
import { metric, startWaitless, type Waitless } from '../support/waitless.ts';

const row = 'memory';
const services = ['--pull', 'jobs'];
const path = '/v1/call/jobs/score';
const callers = 64;
/** After the start, so that what only starting needs is gone from the idle figure. */
const idleMs = 3000;
const settleMs = 10_000;
const kills = 3;

const pending = (server: Waitless): Promise<number> => metric(server, 'waitless_operations', { status: 'queued' });

async function expectPending(server: Waitless, expected: number): Promise<void> {
  const found = await pending(server);
  if (found !== expected) throw new Error(`${found} operations are pending instead of ${expected}`);
}

/** From the start of the process to the 202, in milliseconds. */
async function firstAccept(bench: Bench, data: string): Promise<{ server: Waitless; tookMs: number }> {
  const server = await startWaitless(bench, { services, data });
  const { status, body } = await requestOnce(server.port, postBytes(server.port, path));
  if (status !== 202) throw new Error(`the first accept was answered ${status} ${body}`);
  return { server, tookMs: performance.now() - server.spawnedAtMs };
}

export const memoryRow: Row = {
  name: row,
  about: 'resident memory with 1,000,000 operations pending; first durable accept after a kill',
  async run(bench) {
    const { operations } = bench.options;
    // The same with nothing in the store: what of the figure below is only Node and its modules.
    const emptyMs: number[] = [];
    for (let start = 1; start <= kills; start++) {
      bench.step(`memory: start ${start} of ${kills} with an empty store`);
      const first = await firstAccept(bench, bench.newFolder());
      await first.server.stop('SIGKILL');
      emptyMs.push(first.tookMs);
    }
    const load = await startLoad(bench.children);
    let server = await startWaitless(bench, { services });
    bench.step('memory: idle server');
    await pause(idleMs);
    const idle = memoryMiB(server.pid);
    bench.step(`memory: submitting ${operations.toLocaleString('en-US')} operations`);
    const filled = await load.run({
      port: server.port,
      connections: callers,
      request: postBytes(server.port, path),
      expect: { status: 202 },
      count: operations,
    });
    bench.step('memory: waiting 10 s after the fill');
    await pause(settleMs);
    const full = memoryMiB(server.pid);
    await expectPending(server, operations);
    const tookMs: number[] = [];
    let restarted = full;
    for (let kill = 1; kill <= kills; kill++) {
      bench.step(`memory: kill ${kill} of ${kills} and start again`);
      await server.stop('SIGKILL');
      const first = await firstAccept(bench, server.data);
      server = first.server;
      tookMs.push(first.tookMs);
      restarted = memoryMiB(server.pid);
      await expectPending(server, operations + kill);
    }
    await server.stop();
    await load.stop();
    bench.removeFolder(server.data);
    const name = `${operations.toLocaleString('en-US')} pending`;
    return [
      {
        row,
        case: name,
        what: 'RSS over idle',
        unit: 'MiB',
        values: [full.rss - idle.rss],
        target: { atMost: 100 / 1.048576 },
        note: `idle ${idle.rss.toFixed(0)}, full ${full.rss.toFixed(0)} MiB; target 100 MB`,
      },
      {
        row,
        case: name,
        what: 'PSS over idle',
        unit: 'MiB',
        values: [full.pss - idle.pss],
        note: `idle ${idle.pss.toFixed(0)}, full ${full.pss.toFixed(0)} MiB`,
      },
      { row, case: name, what: 'RSS after the restart', unit: 'MiB', values: [restarted.rss] },
      { row, case: name, what: 'accepted during the fill', unit: 'per s', values: [filled.perSecond] },
      { row, case: 'empty store', what: 'start to first accept', unit: 'ms', values: emptyMs },
      {
        row,
        case: name,
        what: 'start to first accept after a kill',
        unit: 'ms',
        values: tookMs,
        target: { atMost: 300 },
        note: 'from the start of the new process to the 202',
      },
    ] satisfies Figure[];
  },
};
