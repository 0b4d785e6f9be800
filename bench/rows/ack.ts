// The 202 must not notice how slow the backend is: the same load in front of one that takes 10 ms and one that takes 60 s.
import type { Bench, Row } from '../support/bench.ts';
import { type Child, firstMessage } from '../support/children.ts';
import type { Figure } from '../support/figures.ts';
import { type Load, type LoadResult, startLoad } from '../support/load.ts';
import { postBytes } from '../support/payload.ts';
import { median, percentile } from '../support/statistics.ts';
import { startWaitless, type Waitless } from '../support/waitless.ts';

const row = 'ack';
/** Far below what the server can take, so that the figure is the server's answer and not a queue before it. */
const perSecond = 300;
const connections = 512;
const warmUpSeconds = 3;
/** Pairs per run asked for: the 99th percentile of one run of a few seconds rests on a dozen answers. */
const pairsPerRun = 2;
const quickMs = 10;
const slowMs = 60_000;
type Speed = 'quick' | 'slow';

async function startServer(bench: Bench, backend: Child): Promise<Waitless> {
  const port = await firstMessage<number>(backend, 'the backend');
  return startWaitless(bench, { services: ['--target', `score=http://127.0.0.1:${port}`] });
}

const submit = (load: Load, { port }: Waitless, seconds: number) =>
  load.run({
    port,
    connections,
    request: postBytes(port, '/v1/call/score/score'),
    expect: { status: 202 },
    seconds,
    perSecond,
  });

export const ackRow: Row = {
  name: row,
  about: `ack p99 at ${perSecond} submits/s with a backend that takes 10 ms and one that takes 60 s`,
  async run(bench) {
    const load = await startLoad(bench.children);
    const quick = bench.children.fork('./backend.ts', [String(quickMs)]);
    const slow = bench.children.fork('./backend.ts', [String(slowMs)]);
    const servers = { quick: await startServer(bench, quick), slow: await startServer(bench, slow) };
    const pids = [servers.quick.pid, servers.slow.pid, load.pid, quick.pid, slow.pid];
    bench.step('ack: warming up');
    for (const speed of ['quick', 'slow'] as const) await submit(load, servers[speed], warmUpSeconds);
    const rounds = await bench.repeat(
      'ack: the two backends in turn',
      async (run) => {
        const round: Partial<Record<Speed, LoadResult & { p99: number }>> = {};
        // Who goes first changes, so that neither always follows the other's rest.
        for (const speed of run % 2 === 1 ? (['quick', 'slow'] as const) : (['slow', 'quick'] as const)) {
          const { result } = await bench.measure(pids, () => submit(load, servers[speed], bench.options.seconds));
          round[speed] = result;
        }
        return round as Required<typeof round>;
      },
      bench.options.runs * pairsPerRun,
    );
    for (const server of Object.values(servers)) {
      await server.stop();
      bench.removeFolder(server.data);
    }
    await load.stop();
    const p99 = (speed: Speed): number[] => rounds.map((round) => round[speed].p99);
    const pooled = (speed: Speed): number =>
      percentile(
        rounds.flatMap((round) => [...round[speed].latenciesMs]).sort((a, b) => a - b),
        0.99,
      );
    return [
      {
        row,
        case: '60 s against 10 ms',
        what: 'ack p99, slow / quick',
        unit: '',
        values: [median(p99('slow')) / median(p99('quick'))],
        target: { atMost: 1.1 },
        note: `of medians; all answers of all runs together ${(pooled('slow') / pooled('quick')).toFixed(2)}`,
      },
      { row, case: 'backend takes 10 ms', what: 'ack p99', unit: 'ms', values: p99('quick') },
      { row, case: 'backend takes 60 s', what: 'ack p99', unit: 'ms', values: p99('slow') },
    ] satisfies Figure[];
  },
};
