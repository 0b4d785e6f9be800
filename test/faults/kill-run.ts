// Submits while the server is killed again and again, then the judgement: what the short and the long kill test share.
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { classify, Ledger, summary, type Verdict, whyVoid } from '../support/ledger.ts';
import { observe } from '../support/observe.ts';
import { temporaryFolder } from '../support/server.ts';
import { type ServerProcess, spawnServer } from '../support/spawn-server.ts';
import { submitLoad } from '../support/submit-load.ts';

export interface KillRun {
  submits: number;
  kills: number;
  callers: number;
  /** `:memory:` is the positive control: a store that a kill empties. */
  data?: ':memory:';
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

/** Kills are spread over the run by count, each at a random place of its stretch, in the midst of whatever is in flight there. */
export async function killRun(
  t: TestContext,
  { submits, kills, callers, data, seed, sampling }: KillRun,
): Promise<{ verdict: Verdict; void: string | undefined }> {
  t.diagnostic(`seed ${seed}`);
  const begun = Date.now();
  const folder = await temporaryFolder(t);
  const ledger = new Ledger(join(folder, 'ledger'));
  const services = { jobs: { target: { pull: true } } };
  const settings = { services, data: data ?? join(folder, 'data') };
  const random = randomOf(seed);
  // Of what is acknowledged; the rest is for those that a kill cuts off.
  const stretch = (submits * 0.9) / (kills + 1);
  const killAt = Array.from({ length: kills }, (_, index) =>
    Math.round(stretch * (index + 1) + (random() - 0.5) * stretch * 0.6),
  );

  let server = await spawnServer(t, settings);
  let ready: Promise<ServerProcess> = Promise.resolve(server);
  const faultTimes: number[] = [];
  let planned = 0;
  let acknowledged = 0;
  const faults: Promise<unknown>[] = [];
  const killAndStart = (): Promise<unknown> => {
    faultTimes.push(Date.now());
    const { port } = server;
    ready = server.end('SIGKILL').then(async () => (server = await spawnServer(t, { ...settings, port })));
    return ready;
  };
  await submitLoad({
    ledger,
    service: 'jobs',
    callers,
    count: submits,
    server: async () => (await ready).url,
    // Half of the unknown ones are sent again until they are known, half are left as they are.
    repeats: (index) => index % 2 === 0,
    after: (outcome) => {
      if (outcome === 'ok') acknowledged++;
      if (acknowledged < (killAt[planned] ?? Number.POSITIVE_INFINITY)) return;
      planned++;
      // Right after an answer most callers have theirs too, since they share a commit; some milliseconds later all are on the way again.
      faults.push(new Promise((resolve) => setTimeout(() => resolve(killAndStart()), random() * 20)));
    },
  });
  await Promise.all(faults);
  t.diagnostic(`load ${Date.now() - begun} ms`);
  const seen = await observe(server.url, 'jobs', { sampling });
  const verdict = classify(ledger.last('submit'), seen);
  t.diagnostic(`${faultTimes.length} kills; ${summary(verdict)}`);
  return {
    verdict,
    void: faultTimes.length < kills ? `only ${faultTimes.length} kills` : whyVoid(ledger.lines, faultTimes),
  };
}
