// Submits while the server is killed again and again, then the judgement: what the short and the long kill test share.
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { nodesBehind } from '../support/balancer.ts';
import { classify, Ledger, type Seen, summary, type Verdict, whyVoid } from '../support/ledger.ts';
import { observe } from '../support/observe.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { submitLoad } from '../support/submit-load.ts';

export interface KillRun {
  submits: number;
  kills: number;
  callers: number;
  /** The positive control: nodes that keep what they take in their own memory, so that a kill empties them. */
  weak?: boolean;
  seed: number;
  /** Of the results that were written during the judgement every so-many-th is fetched. */
  sampling: number;
}

/** Deterministic numbers in [0, 1) from a seed (mulberry32), so that a run can be repeated. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Kills are spread over the run by count, each at a random place of its stretch, in the midst of whatever is in flight there. Of several
 * nodes one is killed, and the load goes on against the others until it is back; the load of a single one waits for it.
 */
export async function killRun(
  t: TestContext,
  { submits, kills, callers, weak = false, seed, sampling }: KillRun,
): Promise<{ verdict: Verdict; void: string | undefined }> {
  t.diagnostic(`seed ${seed}`);
  const begun = Date.now();
  const folder = await temporaryFolder(t);
  const ledger = new Ledger(join(folder, 'ledger'));
  const services = { jobs: { target: { pull: true } } };
  const random = randomOf(seed);
  // Of what is acknowledged; the rest is for those that a kill cuts off.
  const stretch = (submits * 0.9) / (kills + 1);
  const killAt = Array.from({ length: kills }, (_, index) =>
    Math.round(stretch * (index + 1) + (random() - 0.5) * stretch * 0.6),
  );

  const server = await spawnServer(
    t,
    weak ? { services, data: ':memory:', own: true } : { services, data: join(folder, 'data') },
  );
  const alone = server.nodes.length === 1;
  /** Resolves when the node that was killed last is back. */
  let back: Promise<void> = Promise.resolve();
  const faultTimes: number[] = [];
  let acknowledged = 0;
  let over = false;
  let progress = (): void => {};
  const reached = (count: number): Promise<void> =>
    new Promise((resolve) => {
      progress = () => {
        if (over || acknowledged >= count) resolve();
      };
      progress();
    });

  async function killNodes(): Promise<void> {
    for (const count of killAt) {
      await reached(count);
      if (over) return;
      // Right after an answer most callers have theirs too, since they share a commit; some milliseconds later all are on the way again.
      await new Promise((resolve) => setTimeout(resolve, random() * 20));
      faultTimes.push(Date.now());
      back = server.killAndStart(Math.floor(random() * server.nodes.length));
      await back;
    }
  }

  const load = submitLoad({
    ledger,
    service: 'jobs',
    callers,
    count: submits,
    server: async () => {
      // With others alive nobody waits for the one that is down, unless the next should be killed already.
      if (alone || acknowledged >= (killAt[faultTimes.length] ?? Number.POSITIVE_INFINITY)) await back;
      return server.url;
    },
    // Half of the unknown ones are sent again until they are known, half are left as they are.
    repeats: (index) => index % 2 === 0,
    after: (outcome) => {
      if (outcome === 'ok') acknowledged++;
      progress();
    },
  });
  const end = (): void => {
    over = true;
    progress();
  };
  await Promise.all([load.finally(end), killNodes()]);
  t.diagnostic(`load ${Date.now() - begun} ms`);
  const seen: Seen[] = [];
  // Weak nodes have a store each, sound ones have one together.
  for (const url of weak ? nodesBehind(server.url) : [server.url])
    seen.push(...(await observe(url, 'jobs', { sampling })));
  const verdict = classify(ledger.last('submit'), seen);
  t.diagnostic(`${faultTimes.length} kills; ${summary(verdict)}`);
  return {
    verdict,
    void: faultTimes.length < kills ? `only ${faultTimes.length} kills` : whyVoid(ledger.lines, faultTimes),
  };
}
