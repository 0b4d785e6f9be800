// Times and counts every call of an engine, so that no engine author has to remember it.
import type { EngineCallTimes } from '../lib/metrics.ts';
import type { Engine } from './engine.ts';

/** Calls that change or read state and are worth a time series each; fixed names, so that metrics stay few. */
const observedCalls = [
  'submit',
  'settle',
  'extend',
  'cancel',
  'purge',
  'operation',
  'recordsOf',
  'result',
  'operations',
  'timeline',
  'counts',
  'ahead',
  'leaseDeliveries',
  'settleDeliveries',
  'deliveries',
  'delivery',
  'redeliver',
  'sweep',
  'applyClock',
  'append',
  'read',
] as const;

/** The same engine; how often each call was made, failed, and how long its callers waited goes into `times`. A lease may wait for work by design and is left out. */
export function observed(engine: Engine, times: EngineCallTimes): Engine {
  const wrapped = { ...engine };
  for (const name of observedCalls) {
    const seen = { calls: 0, failures: 0, seconds: 0 };
    times.set(name, seen);
    const call = engine[name] as (...values: unknown[]) => Promise<unknown>;
    const timed = (...values: unknown[]): Promise<unknown> => {
      const startedAt = performance.now();
      const answer = call(...values);
      const end = (): void => {
        seen.calls++;
        seen.seconds += (performance.now() - startedAt) / 1000;
      };
      answer.then(end, () => {
        seen.failures++;
        end();
      });
      return answer;
    };
    (wrapped as Record<string, unknown>)[name] = timed;
  }
  return wrapped;
}
