// Leases kept by heartbeats at both nodes in turns, then given up: when they end, told by the server's own times.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Lease, Page, TimelineEntry } from '@waitless/protocol';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { type Clock, systemClock } from '../../packages/server/src/lib/clock.ts';
import { get } from '../support/http.ts';
import { submit } from '../support/operations.ts';
import { answerLease, leaseCall } from '../support/pull-worker.ts';
import { randomOf } from './kill-run.ts';
import { rowsOf, twoServers } from './postgres-nodes.ts';

export interface LeasesRun {
  leases: number;
  leaseMs: number;
  /** With each lease, before it is given up. */
  heartbeats: number;
  seed: number;
  /** The positive control: a store that takes so much off the leases when they have been given up. */
  shortenedMs?: number;
}

export interface LeasesVerdict {
  /** Leases that ended, or were refused to their holder, before the time that he was told. */
  early: string[];
  /** Heartbeats for a lease that had ended, and were taken all the same. */
  revived: string[];
  /** How long after its time the latest one ended. */
  latestMs: number;
  /** What is promised: two sweeps, as far apart as they were in this run. */
  boundMs: number;
}

/** How far apart sweeps are on a machine that has time for them. */
const sweepMs = 1000;

export async function leasesRun(t: TestContext, run: LeasesRun): Promise<LeasesVerdict> {
  const { leases: count, leaseMs, heartbeats, seed, shortenedMs = 0 } = run;
  t.diagnostic(`seed ${seed}`);
  const random = randomOf(seed);
  const clocks: Clock[] = [];
  const ends: number[][] = [[], []];
  /** How far the nodes' clocks were from each other at most. */
  let apartMs = 0;
  const pair = await twoServers(t, {
    services: { jobs: { target: { pull: true }, retry: { maxAttempts: 100 } } },
    extras: (index) => ({ clock: (startMs) => (clocks[index] = systemClock(startMs)) }),
    wrapEngine: (engine, index) => ({
      ...engine,
      sweep: async (...call: Parameters<Engine['sweep']>) => {
        const outcome = await engine.sweep(...call);
        ends[index]!.push(performance.now());
        if (clocks.length === 2) apartMs = Math.max(apartMs, Math.abs(clocks[0]!.now() - clocks[1]!.now()));
        return outcome;
      },
    }),
  });
  /** No node's clock is later than this. */
  const serverNow = (): number => Math.max(...clocks.map((clock) => clock.now()));
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  await Promise.all(Array.from({ length: count }, (_, at) => submit(pair.urls[at % 2]!, 'jobs', { agent })));

  const verdict: LeasesVerdict = { early: [], revived: [], latestMs: 0, boundMs: 0 };
  /** Until when the first holder of each operation was told that he holds it; and when he had asked for that. */
  const told = new Map<string, { token: string; until: number; askedAt: number }>();

  async function keep({ token, operation, expiresAt }: Lease, leasedAt: number): Promise<void> {
    const own = { token, until: Date.parse(expiresAt), askedAt: leasedAt };
    told.set(operation.id, own);
    const turn = Math.floor(random() * 2);
    for (let beat = 0; beat < heartbeats; beat++) {
      await pause(leaseMs * (0.3 + random() * 0.4));
      const askedAt = performance.now();
      const body = { leaseSeconds: leaseMs / 1000 };
      const answer = await answerLease(pair.urls[(turn + beat) % 2]!, token, 'extend', { body, agent });
      if (answer.status !== 200) {
        if (serverNow() < own.until) verdict.early.push(`${operation.id} was refused ${answer.status} before its end`);
        return;
      }
      own.until = Date.parse(answer.json<{ expiresAt: string }>().expiresAt);
      own.askedAt = askedAt;
    }
  }

  const holding: Promise<void>[] = [];
  while (holding.length < count) {
    const url = pair.urls[holding.length % 2]!;
    const askedAt = performance.now();
    const { leases } = await leaseCall(url, 'jobs', { worker: 'first', max: 20, leaseSeconds: leaseMs / 1000, agent });
    holding.push(...leases.map((lease) => keep(lease, askedAt)));
  }

  // Whoever comes next holds on to what he gets.
  const next = new Map<string, number>();
  const collect = async (url: string): Promise<void> => {
    while (next.size < count) {
      const { leases } = await leaseCall(url, 'jobs', {
        worker: 'next',
        max: 50,
        leaseSeconds: 600,
        waitSeconds: 1,
        agent,
      });
      for (const { operation } of leases) {
        assert.ok(!next.has(operation.id), 'a lease of ten minutes has not ended yet');
        next.set(operation.id, performance.now());
      }
    }
  };
  const collecting = Promise.all(pair.urls.map(collect));
  await Promise.all(holding);
  if (shortenedMs > 0) {
    const shorter = `lease_until = lease_until - ${shortenedMs}, wake_at = wake_at - ${shortenedMs}`;
    await rowsOf(pair.store, `UPDATE operation SET ${shorter} WHERE stage = 2 AND worker = 'first'`);
  }
  await collecting;

  const gaps = ends.flatMap((times) => times.slice(1).map((at, index) => at - times[index]!));
  verdict.boundMs = 2 * Math.max(sweepMs, ...gaps);
  const ledBy: number[] = [];
  for (const [id, { until, askedAt }] of told) {
    const { items } = (await get(`${pair.urls[0]}/v1/operations/${id}/timeline`, { agent })).json<
      Page<TimelineEntry>
    >();
    const [first, second] = items.flatMap((entry) => (entry.type === 'attempt' ? [entry] : []));
    assert.deepEqual([first!.outcome, second!.worker], ['lease-expired', 'next']);
    const endedAt = Date.parse(first!.endedAt!);
    if (endedAt < until) verdict.early.push(`${id} ended ${until - endedAt} ms before its time`);
    // Told by the clock of the node that handed it out, which may be behind the one that ended the lease.
    const startedAt = Date.parse(second!.at);
    if (startedAt < until - apartMs) verdict.early.push(`${id} was begun anew ${until - startedAt} ms before its time`);
    verdict.latestMs = Math.max(verdict.latestMs, endedAt - until);
    const spare = next.get(id)! - askedAt - leaseMs;
    if (spare < -apartMs) verdict.early.push(`${id} was handed out ${-spare} ms too early by the tester's clock`);
    ledBy.push(spare);
  }
  ledBy.sort((a, b) => a - b);
  t.diagnostic(
    `ended at most ${verdict.latestMs} ms late (bound ${Math.round(verdict.boundMs)}); with the next worker, by the tester's clock, ` +
      `${ledBy[0]!.toFixed(1)} to ${ledBy.at(-1)!.toFixed(1)} ms after the lease, counted from the last heartbeat; the nodes' clocks were ${apartMs} ms apart`,
  );

  const leaseEnds = (): Promise<{ seq: string; lease_until: string }[]> =>
    rowsOf(pair.store, 'SELECT seq, lease_until FROM operation ORDER BY seq');
  const before = await leaseEnds();
  for (const [id, { token }] of told) {
    for (const url of pair.urls) {
      const { status } = await answerLease(url, token, 'extend', { body: { leaseSeconds: 86_400 }, agent });
      if (status !== 409) verdict.revived.push(`${id}: ${status}`);
    }
  }
  assert.deepEqual(await leaseEnds(), before, "the next holders' leases are as they were");
  agent.destroy();
  return verdict;
}
