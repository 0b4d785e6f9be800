// Work that is in hand when the database goes, and what must have become of it when it is back.
import assert from 'node:assert/strict';
import type { Lease, Page, TimelineEntry } from '@waitless/protocol';
import { gate } from '../support/backend.ts';
import { get, post, type Received } from '../support/http.ts';
import { type Accepted, submit, waitersReach } from '../support/operations.ts';
import { reply, takeOne } from '../support/pull-worker.ts';
import { aside, type Scene, there, untilIn } from './postgres-loss-load.ts';

/** Work that is in hand when the database goes, and has to be there when it is back. */
export interface InHand {
  /** Attempts that their backend answers while the database is away. */
  attempts: Accepted[];
  answer(): void;
  /** Callers who wait for those results. */
  waiting: Promise<Received>[];
  /** A lease of a worker. */
  lease: Lease;
  leased: Accepted;
  /** A worker who waits for work. */
  parked: Promise<Lease>;
}

/** Waits for a result, and again where the wait itself was as long as a wait may be. */
async function waitFor(result: string): Promise<Received> {
  for (;;) {
    const askedAt = performance.now();
    const answer = await get(result, { headers: { Prefer: 'wait=55' } });
    if (answer.status === 200 || performance.now() - askedAt < 50_000) return answer;
  }
}

export async function putInHand(scene: Scene): Promise<InHand> {
  const { url, backend } = scene;
  const answered = gate();
  backend.behave(async ({ target, body }) => {
    if (target.startsWith('/slow')) await answered.opened;
    return { body };
  });
  const slow = (): number => backend.requests.filter(({ target }) => target.startsWith('/slow')).length;
  const before = slow();
  const attempts = await Promise.all(
    [0, 1, 2, 3].map((n) => submit(url, 'slow', { body: `slow ${n}`, headers: aside })),
  );
  await untilIn(scene, () => (slow() === before + attempts.length ? true : undefined));
  const leased = await submit(url, 'held', { body: 'held', headers: aside });
  const lease = await takeOne(url, 'held', { worker: 'careful' });
  const counted = gate();
  scene.quiet = counted.opened;
  const waiting = attempts.map(({ result }) => waitFor(result));
  const parked = takeOne(url, 'held', { worker: 'parked', waitSeconds: 55 });
  // A run that has failed meanwhile has told of its own failure.
  for (const promise of [...waiting, parked]) promise.catch(() => {});
  // All of them, and the worker of the load, who waits now and then.
  await waitersReach(url, (waiters) => waiters >= waiting.length + 2);
  scene.quiet = undefined;
  counted.open();
  return { attempts, answer: () => answered.open(), waiting, lease, leased, parked };
}

export async function checkInHand(scene: Scene, inHand: InHand): Promise<void> {
  const { url, backend } = scene;
  const { attempts, waiting, lease, leased, parked } = inHand;
  const results = await Promise.all(waiting);
  assert.deepEqual(
    results.map(({ status, text }) => `${status} ${text}`),
    attempts.map((_, n) => `200 slow ${n}`),
    'those who waited have their results',
  );
  for (const { id, status } of attempts) {
    const { items } = (await there(scene, () => get(`${status}/timeline`))).json<Page<TimelineEntry>>();
    assert.equal(
      items.filter(({ type }) => type === 'attempt').length,
      1,
      'the answer of the first attempt was recorded',
    );
    assert.equal(backend.requests.filter(({ headers }) => headers['operation-id'] === id).length, 1);
  }
  const replied = await there(scene, () => reply(url, lease.token, 'held'));
  assert.equal(replied.status, 200, `the lease is still the worker's: ${replied.text}`);
  assert.equal((await there(scene, () => get(leased.result))).text, 'held');
  // What is asked again after an unknown outcome must be one operation.
  const headers = { ...aside, 'Idempotency-Key': leased.id };
  const next = await there(scene, () => post(`${url}/v1/call/held`, { body: 'next', headers }));
  const given = await parked;
  assert.equal(given.operation.id, next.headers['operation-id'], 'the worker who waited has the work');
  assert.equal((await there(scene, () => reply(url, given.token, 'next'))).status, 200);
}

/** What says how the server is answers also while the database is away, and says so. */
export async function checkHealth(scene: Scene): Promise<void> {
  const { url } = scene;
  const alive = get(`${url}/livez`);
  const looks = ['/v1/operations', '/v1/services', '/'].map((path) => get(url + path));
  const metrics = get(`${url}/metrics`);
  const ready = await untilIn(scene, async () => {
    const answer = await get(`${url}/readyz`);
    return answer.status === 503 ? answer : undefined;
  });
  assert.equal(ready.json()['code'], 'engine-unavailable');
  assert.match(String(ready.json()['title']), /database/);
  assert.equal((await alive).status, 200);
  assert.equal((await metrics).status, 200);
  assert.match((await metrics).text, /^waitless_engine_calls_total\{call="submit"\} [1-9]/m);
  for (const { status, text } of await Promise.all(looks)) assert.ok(status === 200 || status === 503, text);
}
