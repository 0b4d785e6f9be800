// The clock's rounds as the core makes them: sweep, then decide about what is due.
import type { ClockTransition, DueOperation } from '../engine.ts';
import type { Fixture, Node } from './fixture.ts';

/** What ran out of time ends, what lost its lease is ready again. */
export function decisionOn({ seq, version, reason }: DueOperation, now: number): ClockTransition {
  const error = { code: reason, message: 'decided by the test' };
  return {
    seq,
    version,
    transition:
      reason === 'lease-expired'
        ? { to: 'queued', runAt: now, rank: now, attemptUsed: true, error }
        : { to: 'failed', error, result: null },
  };
}

/** One sweep with its decisions; returns those that took effect. */
export async function round(f: Fixture, node: Node, pausedMs = 0): Promise<DueOperation[]> {
  const now = f.clock.now();
  const { due } = await node.engine.sweep(now, { removeExpired: true, pausedMs });
  if (due.length === 0) return [];
  const applied = await node.engine.applyClock(
    due.map((one) => decisionOn(one, now)),
    now,
  );
  return due.filter((_, i) => applied[i]);
}

/** Seconds go by, and each of the nodes sweeps in each of them; returns what was decided. */
export async function seconds(f: Fixture, count: number, nodes: readonly Node[]): Promise<DueOperation[]> {
  const decided: DueOperation[] = [];
  for (let i = 0; i < count; i++) {
    f.clock.advance(1000);
    decided.push(...(await Promise.all(nodes.map((node) => round(f, node)))).flat());
  }
  return decided;
}
