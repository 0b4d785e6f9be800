// Both nodes stand still for longer than a lease lasts: what that costs workers who could reach nobody.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Lease } from '@waitless/protocol';
import { submit } from '../support/operations.ts';
import { answerLease, leaseCall, reply } from '../support/pull-worker.ts';
import { assertCountsAreRight, type ProcessPair, rowsOf, twoProcesses } from './postgres-nodes.ts';

/** The line of the leases goes on for two and a half seconds after the last sign of a node; and a worker has a second to be heard. */
export const leaseSeconds = 6;

export interface PausesRun {
  pauses: number;
  leases: number;
  /** What happens to both nodes, and how they come back. */
  kind: 'stopped' | 'killed';
  /** The positive control: a store to which the pause was time like any other. */
  counted?: boolean;
}

/** Jobs and their leases, all with one worker. */
export async function holdLeases(pair: ProcessPair, count: number, agent: Agent): Promise<Lease[]> {
  await Promise.all(Array.from({ length: count }, (_, at) => submit(pair.urls[at % 2]!, 'jobs', { agent })));
  const { leases } = await leaseCall(pair.urls[0], 'jobs', { worker: 'w', max: count, leaseSeconds, agent });
  assert.equal(leases.length, count);
  return leases;
}

/** A heartbeat for each lease, at any of these nodes in turns, until the answer is certain: 200, or the lease is lost. */
export async function heartbeats(urls: readonly string[], leases: readonly Lease[], agent: Agent): Promise<Lease[]> {
  const lost: Lease[] = [];
  await Promise.all(
    leases.map(async (lease, at) => {
      for (let turn = at; ; turn++) {
        const body = { leaseSeconds };
        const answer = await answerLease(urls[turn % urls.length]!, lease.token, 'extend', { body, agent }).catch(
          () => undefined,
        );
        if (answer?.status === 200) return;
        if (answer?.status === 409) return void lost.push(lease);
        assert.ok(!answer || answer.status === 503, `${answer?.status} ${answer?.text}`);
        await pause(10);
      }
    }),
  );
  return lost;
}

/** Leases that were lost to pauses. */
export async function pausesRun(
  t: TestContext,
  { pauses, leases: count, kind, counted = false }: PausesRun,
): Promise<number> {
  const pair = await twoProcesses(t, { services: { jobs: { target: { pull: true }, retry: { maxAttempts: 100 } } } });
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  let held = await holdLeases(pair, count, agent);
  let lost = 0;
  for (let round = 0; round < pauses; round++) {
    assert.deepEqual(await heartbeats(pair.urls, held, agent), []);
    if (kind === 'stopped') for (const index of [0, 1]) pair.freeze(index);
    else await Promise.all([0, 1].map((index) => pair.end(index, 'SIGKILL')));
    // Not a wait for a fact: it is the fault itself that lasts so long.
    await pause(leaseSeconds * 3 * 1000);
    if (counted) await rowsOf(pair.store, `UPDATE time_line SET paused_ms = paused_ms - ${leaseSeconds * 3 * 1000}`);
    if (kind === 'stopped') for (const index of [0, 1]) pair.thaw(index);
    else await Promise.all([0, 1].map((index) => pair.start(index)));
    const gone = await heartbeats(pair.urls, held, agent);
    lost += gone.length;
    held = held.filter((lease) => !gone.includes(lease));
  }
  // Whoever was told that he holds it can answer it.
  for (const [at, { token }] of held.entries())
    assert.equal((await reply(pair.urls[at % 2]!, token, 'done')).status, 200);
  agent.destroy();
  if (lost === 0) await assertCountsAreRight(pair.urls);
  return lost;
}
