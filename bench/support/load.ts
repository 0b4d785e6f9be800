// Asking the load process for a run, and what comes back.
import type { Child, Children } from './children.ts';
import { firstMessage } from './children.ts';
import { percentile } from './statistics.ts';

export interface LoadJob {
  /** Of one server, or of several among which the connections are divided evenly. */
  port: number | readonly number[];
  connections: number;
  /** The whole request as it goes over the wire. */
  request: Uint8Array;
  /** Writes a random whole number below `below` into the request each time it is sent: `digits` decimal digits from byte `at` on, the same at each of several. */
  vary?: { at: number | readonly number[]; digits: number; below: number };
  /** What every answer must be; `body` byte for byte. */
  expect: { status: number; body?: string };
  /** Stop sending after so long, or after so many requests. */
  seconds?: number;
  count?: number;
  /** Open loop at this rate; without it every connection sends as soon as its answer is there. */
  perSecond?: number;
}

export interface LoadResult {
  /** Answered as expected, those after the end of the time included. */
  operations: number;
  /** Answered within the time. */
  perSecond: number;
  /** Ascending. */
  latenciesMs: Float64Array;
  failures: number;
  firstFailure: string | undefined;
  cpuSeconds: number;
}

export type LoadAnswer = { result: LoadResult } | { error: string };

export interface Load {
  pid: number;
  /** Rejects when a single answer was not as expected: such a run measures something else. */
  run(job: LoadJob): Promise<LoadResult & { p50: number; p99: number }>;
  stop(): Promise<void>;
}

export async function startLoad(children: Children): Promise<Load> {
  const child: Child = children.fork('./load-process.ts');
  await firstMessage(child, 'the load process');
  return {
    pid: child.pid,
    stop: () => child.stop(),
    async run(job) {
      const answer = firstMessage<LoadAnswer>(child, 'the load process');
      child.process.send(job);
      const received = await answer;
      if ('error' in received) throw new Error(received.error);
      const { result } = received;
      if (result.failures > 0)
        throw new Error(
          `${result.failures} of ${result.operations + result.failures} requests failed, the first with: ${result.firstFailure}`,
        );
      return { ...result, p50: percentile(result.latenciesMs, 0.5), p99: percentile(result.latenciesMs, 0.99) };
    },
  };
}
