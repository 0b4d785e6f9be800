// Subscriptions as two nodes of one store know them: what one changes the other hears of, and a secret is nowhere to be read.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { readApiSubscription } from '../config/api-subscription.ts';
import { sqliteEngine } from '../engines/sqlite/engine.ts';
import { manualClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { sealingKey } from '../lib/seal.ts';
import type { SecretKey } from './secret-key.ts';
import { type SubscriptionChange, Subscriptions } from './subscriptions.ts';

const s = { namespace: 'default', name: 's' };
const pull = { topic: 'orders.*', target: { pull: true } };
const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const signed = { topic: 'a', target: { url: 'https://example.com/in', secret } };

function newKey(): SecretKey {
  const key = sealingKey(randomBytes(32));
  return { place: '/home/key', find: () => Promise.resolve(key), make: () => Promise.resolve(key) };
}

async function storeFor(t: TestContext) {
  const clock = manualClock();
  const engine = sqliteEngine({ folder: ':memory:' });
  await engine.open(clock.now());
  const nodes: Subscriptions[] = [];
  t.after(async () => {
    await Promise.all(nodes.map((one) => one.stop()));
    await engine.close();
  });
  const node = async (key: SecretKey, everyMs?: number) => {
    const changes: SubscriptionChange[] = [];
    const subscriptions = new Subscriptions({
      engine: everyMs === undefined ? engine : { ...engine, onSignal() {} },
      read: readApiSubscription,
      checkTarget: () => Promise.resolve(),
      key,
      clock,
      everyMs,
      log: silentLog,
    });
    const heard = new EventTarget();
    subscriptions.onChange((change) => {
      changes.push(change);
      heard.dispatchEvent(new Event('change'));
    });
    await subscriptions.start();
    nodes.push(subscriptions);
    /** Resolves once something is as it should be here. */
    const when = async (fits: () => boolean): Promise<void> => {
      while (!fits()) await once(heard, 'change');
    };
    return { subscriptions, changes, when };
  };
  return { engine, node };
}

for (const [how, everyMs] of [
  ['by a hint', undefined],
  ['by the slow poll alone', 5],
] as const) {
  test(`what one node makes, pauses and removes another one knows ${how}`, async (t) => {
    const { node } = await storeFor(t);
    const key = newKey();
    const [one, other] = [await node(key), await node(key, everyMs)];
    const { isNew, record } = await one.subscriptions.put(s, pull);
    assert.equal(isNew, true);
    assert.equal(one.subscriptions.get(s)?.number, record.number, 'known here at once');
    await other.when(() => other.subscriptions.get(s) !== undefined);
    const { topics, target, retry, paused, filter } = other.subscriptions.get(s)!;
    assert.deepEqual(
      [topics, target, retry.maxAttempts, paused, filter({ type: 'x' })],
      [['orders.*'], { kind: 'pull' }, 5, false, true],
    );
    const before = other.subscriptions.get(s);
    await other.subscriptions.read();
    assert.equal(other.subscriptions.get(s), before, 'what did not change stays the same object');

    await one.subscriptions.pause(s);
    assert.equal(one.subscriptions.get(s)?.paused, true);
    await other.when(() => other.subscriptions.get(s)?.paused === true);
    await one.subscriptions.put(s, { ...pull, filter: { exact: { type: 'y' } } });
    await other.when(() => other.subscriptions.get(s)?.filter({ type: 'x' }) === false);
    assert.equal(other.subscriptions.get(s)?.paused, true, 'a change of it resumes nothing');

    await one.subscriptions.remove(s);
    await other.when(() => other.subscriptions.get(s) === undefined);
    assert.deepEqual(other.changes.at(-1), { number: record.number, now: undefined });
    for (const change of ['pause', 'resume', 'remove', 'record'] as const)
      await assert.rejects(one.subscriptions[change](s), { code: 'unknown-subscription' });
  });
}

test('what is refused is kept nowhere', async (t) => {
  const { engine, node } = await storeFor(t);
  const { subscriptions } = await node(newKey());
  await assert.rejects(subscriptions.put(s, { ...pull, filter: { sql: 'x' } }), { code: 'invalid-filter' });
  await assert.rejects(subscriptions.put(s, { ...pull, topic: 'a..b' }), { code: 'invalid-filter' });
  await assert.rejects(subscriptions.put(s, { target: { pull: true } }), { code: 'invalid-parameter' });
  assert.deepEqual(await engine.subscriptions(), []);
});

test('a secret is sealed in the store, opened by the same key alone, and bound to its subscription', async (t) => {
  const { engine, node } = await storeFor(t);
  const key = newKey();
  const { subscriptions } = await node(key);
  const { record } = await subscriptions.put(s, signed);
  assert.ok(!record.text.includes(secret.slice(6, 40)), record.text);
  const target = { kind: 'webhook', url: 'https://example.com/in', headers: {} };
  assert.deepEqual(subscriptions.get(s)?.target, { ...target, secrets: [secret] });
  assert.deepEqual((await node(key)).subscriptions.get(s)?.target, { ...target, secrets: [secret] });
  assert.deepEqual(subscriptions.configOf(record).target, { ...target, secrets: [] }, 'that it has one may be seen');

  const stranger = (await node(newKey())).subscriptions;
  assert.equal(stranger.get(s), undefined);
  assert.match(stranger.warnings[0]!, /subscription s .*secret was sealed with another secret key/);
  assert.equal(stranger.problemOf(record.number), stranger.warnings[0]);

  // Copied to another subscription it opens nothing.
  const { subscription } = await engine.saveSubscription(
    { namespace: 'default', name: 'thief', text: record.text, topics: ['a'], savedAt: 1 },
    'now',
  );
  await subscriptions.read();
  assert.equal(subscriptions.byNumber(subscription.number), undefined);
  assert.match(subscriptions.problemOf(subscription.number)!, /was changed/);

  await subscriptions.put(s, { topic: 'a', target: { url: 'https://example.com/in' } });
  assert.deepEqual(subscriptions.get(s)?.target, target, 'a document without one has none');
});
