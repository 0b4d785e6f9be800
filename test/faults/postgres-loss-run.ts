// A server under load whose database goes away and comes back, again and again, and the judgement: what the short and the long test share.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Operation, Page } from '@waitless/protocol';
import { get, post } from '../support/http.ts';
import { classify, summary, type Verdict, whyVoid } from '../support/ledger.ts';
import { observe } from '../support/observe.ts';
import { checkHealth, checkInHand, putInHand } from './postgres-loss-hand.ts';
import {
  aside,
  callers,
  reader,
  type Scene,
  sceneFor,
  type SceneSettings,
  untilIn,
  worker,
} from './postgres-loss-load.ts';

/** How the database goes away: stopped in one of three ways, cut off, or silent in the network with its connections still there. */
export const losses = ['fast', 'immediate', 'kill', 'cut', 'black-hole'] as const;
export type Loss = (typeof losses)[number];

/** The promise: each submit is answered within so many milliseconds. */
const answerWithin = 5000;

/** Takes the database away, and gives it back. */
async function take({ cluster, proxy }: Scene, loss: Loss): Promise<void> {
  if (loss === 'black-hole') return proxy.set('black-hole');
  if (loss !== 'cut') return cluster.stop(loss);
  await proxy.set('refuse');
  proxy.reset();
}

async function giveBack({ cluster, proxy }: Scene, loss: Loss): Promise<void> {
  if (loss === 'black-hole' || loss === 'cut') await proxy.set('forward');
  else await cluster.start();
}

/** One loss and return in the midst of the load; how long it took until everything was back. */
export async function lossRound(scene: Scene, loss: Loss, awayMs: number): Promise<number> {
  const { url, ledger } = scene;
  const begun = ledger.lines.length;
  await untilIn(scene, () =>
    ledger.lines.slice(begun).filter(({ outcome }) => outcome === 'ok').length >= 60 ? true : undefined,
  );
  const inHand = await putInHand(scene);
  await take(scene, loss);
  const goneAt = performance.now();
  inHand.answer();
  await checkHealth(scene);
  await pause(Math.max(0, goneAt + awayMs - performance.now()));
  await giveBack(scene, loss);
  const backAt = performance.now();
  const returned = new Date().toISOString();

  await checkInHand(scene, inHand);
  await untilIn(scene, async () => ((await get(`${url}/readyz`)).status === 200 ? true : undefined));
  for (const service of ['push', 'jobs'])
    await untilIn(scene, async () => {
      const answer = await post(`${url}/v1/call/${service}`, {
        body: 'through',
        headers: { Prefer: 'wait=5', ...aside },
      });
      return answer.status === 200 ? true : undefined;
    });
  // Whatever came before has ended as well, also what nobody was told of.
  await untilIn(scene, async () => {
    const open = `${url}/v1/operations?service=push&status=queued,running&limit=1&createdBefore=${returned}`;
    const answer = await get(open);
    return answer.status === 200 && answer.json<Page<Operation>>().items.length === 0 ? true : undefined;
  });
  return performance.now() - backAt;
}

/** All rounds under one load, then the ledger. */
export async function lossRun(
  t: TestContext,
  settings: SceneSettings,
  rounds: readonly { loss: Loss; awayMs: number }[],
  { backWithin }: { backWithin: number },
): Promise<{ scene: Scene; verdict: Verdict; void: string | undefined }> {
  const end = new AbortController();
  const scene = await sceneFor(t, settings, end.signal);
  const load = Promise.all([
    callers(scene, { service: 'jobs', count: 4, wait: 0 }),
    callers(scene, { service: 'push', count: 2, wait: 0 }),
    callers(scene, { service: 'push', count: 2, wait: 20 }),
    worker(scene, 'jobs'),
    reader(scene),
  ]);
  const faultTimes: number[] = [];
  let worstReturn = 0;
  const play = async (): Promise<void> => {
    for (const { loss, awayMs } of rounds) {
      const returned = await lossRound(scene, loss, awayMs);
      faultTimes.push(Date.now());
      worstReturn = Math.max(worstReturn, returned);
      t.diagnostic(`${loss} for ${awayMs} ms: all back after ${Math.round(returned)} ms`);
      assert.ok(returned < backWithin, `back within ${backWithin} ms, not ${returned}`);
    }
  };
  // A load that fails ends the play, and the other way round.
  await Promise.race([play(), load]).finally(() => end.abort());
  await load;
  const seen = (await observe(scene.url, 'jobs')).filter(({ key }) => key !== aside['Correlation-Id']);
  const verdict = classify(scene.ledger.last('submit'), seen);
  t.diagnostic(
    `${rounds.length} losses; ${summary(verdict)}; worst answer ${Math.round(scene.worstAnswer)} ms, worst return ${Math.round(worstReturn)} ms`,
  );
  assert.ok(
    scene.worstAnswer < answerWithin,
    `each submit was answered within ${answerWithin} ms, not ${scene.worstAnswer}`,
  );
  return {
    scene,
    verdict,
    void: whyVoid(
      scene.ledger.lines.filter(({ outcome }) => outcome !== 'fail'),
      faultTimes,
    ),
  };
}
