// What signing gets: the newest and the one before while they overlap, the same on every node, and nothing that a wrong key or a changed store yields.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { NamedDocument, Signal } from '../engine/engine.ts';
import { manualClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { type SealingKey, sealingKey } from '../lib/seal.ts';
import { CallbackSecrets, defaultOverlapMs } from './callback-secrets.ts';
import type { SecretKey } from './secret-key.ts';

/** A store that several nodes share, and whose hints can be lost. */
function fakeStore() {
  const documents = new Map<string, NamedDocument>();
  const listeners: ((signal: Signal) => void)[] = [];
  const store = { hints: true, lists: 0, documents };
  const changed = (): void => {
    if (store.hints) for (const listener of listeners) listener({ kind: 'documents' });
  };
  const engine = {
    save: (document: NamedDocument) => {
      documents.set(document.name, document);
      changed();
      return Promise.resolve();
    },
    remove: ({ name }: { name: string }) => {
      const removed = documents.delete(name);
      changed();
      return Promise.resolve(removed);
    },
    list: () => {
      store.lists++;
      return Promise.resolve([...documents.values()]);
    },
    onSignal: (listener: (signal: Signal) => void) => void listeners.push(listener),
  };
  return Object.assign(store, { engine });
}

const newKey = (): SealingKey => sealingKey(randomBytes(32));

function keyOf(key: SealingKey | undefined): SecretKey & { made: number } {
  let there = key;
  const source = {
    place: '/home/key',
    made: 0,
    find: () => Promise.resolve(there),
    make: () => {
      if (!there) source.made++;
      return Promise.resolve((there ??= newKey()));
    },
  };
  return source;
}

function setUp({ key = keyOf(newKey()), store = fakeStore(), clock = manualClock(), everyMs = 3_600_000 } = {}) {
  const secrets = new CallbackSecrets({ engine: store.engine, key, clock, everyMs, log: silentLog });
  return { secrets, key, store, clock };
}

test('the first is made when it is needed, once, also for many at the same moment', async () => {
  const { secrets, store } = setUp();
  await secrets.start();
  assert.equal(store.documents.size, 0);
  const found = await Promise.all(Array.from({ length: 10 }, () => secrets.current('shop')));
  assert.match(found[0]![0]!.secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
  for (const one of found) assert.deepEqual(one, found[0]);
  assert.equal(store.documents.size, 1);
  assert.notDeepEqual(await secrets.current('other'), found[0]);
});

test('two nodes that make the first at the same moment sign with both, and with the same', async () => {
  const store = fakeStore();
  const key = keyOf(newKey());
  const [a, b] = [setUp({ store, key }).secrets, setUp({ store, key }).secrets];
  await Promise.all([a.current('shop'), b.current('shop')]);
  const [ofA, ofB] = [await a.current('shop'), await b.current('shop')];
  assert.equal(ofA.length, 2);
  assert.deepEqual(ofA, ofB);
});

test('what a rotation showed is what signs, with the one before until the overlap ends', async () => {
  const { secrets, clock } = setUp();
  const [first] = await secrets.current('shop');
  const second = await secrets.rotate('shop', { overlapMs: defaultOverlapMs });
  assert.deepEqual(await secrets.current('shop'), [{ id: second.id, secret: second.secret }, first]);
  // The newer of two is newer by a millisecond at least.
  clock.advance(defaultOverlapMs);
  assert.equal((await secrets.current('shop')).length, 2);
  clock.advance(1);
  assert.deepEqual(await secrets.current('shop'), [{ id: second.id, secret: second.secret }]);
});

test('one that has ended is removed from the store, at the next rotation or start', async () => {
  const { secrets, store, clock, key } = setUp();
  await secrets.rotate('shop', { overlapMs: 1000 });
  await secrets.rotate('shop', { overlapMs: 1000 });
  await secrets.rotate('shop', { overlapMs: 1000 });
  assert.equal(store.documents.size, 2);
  clock.advance(5000);
  await setUp({ store, key, clock }).secrets.start();
  assert.equal(store.documents.size, 1);
});

test('the store is read once for many callbacks, again after a hint, and now and then where hints are lost', async () => {
  const { secrets, store, key, clock } = setUp();
  const other = setUp({ store, key, clock });
  await secrets.current('shop');
  await secrets.current('shop');
  const before = store.lists;
  for (let i = 0; i < 100; i++) await secrets.current('shop');
  assert.equal(store.lists, before);
  const fresh = await other.secrets.rotate('shop', { overlapMs: 0 });
  assert.deepEqual(await secrets.current('shop'), [{ id: fresh.id, secret: fresh.secret }]);
  store.hints = false;
  const slow = setUp({ store, key, clock, everyMs: 0 });
  await slow.secrets.current('shop');
  const last = await other.secrets.rotate('shop', { overlapMs: 0 });
  assert.equal((await slow.secrets.current('shop'))[0]!.id, last.id);
});

test('a server without the key of the others makes none of its own beside it, and signs with nothing else', async () => {
  const store = fakeStore();
  const sound = setUp({ store });
  await sound.secrets.current('shop');
  for (const key of [keyOf(undefined), keyOf(newKey())]) {
    const { secrets } = setUp({ store, key });
    await secrets.start();
    assert.match(secrets.warnings.join(), /of the namespace shop cannot be opened: .*\/home\/key/);
    for (const namespace of ['shop', 'new'])
      await assert.rejects(secrets.current(namespace), { code: 'secrets-locked', status: 409 }, namespace);
    assert.equal(key.made, 0);
    assert.equal(store.documents.size, 1);
  }
  assert.deepEqual(sound.secrets.warnings, []);
});

test('after a rotation under another key signing goes on with the new one alone', async () => {
  const store = fakeStore();
  await setUp({ store }).secrets.current('shop');
  const { secrets } = setUp({ store });
  const fresh = await secrets.rotate('shop', { overlapMs: defaultOverlapMs });
  assert.deepEqual(await secrets.current('shop'), [{ id: fresh.id, secret: fresh.secret }]);
  assert.deepEqual(
    (await secrets.list('shop')).map(({ readable }) => readable),
    [true, false],
  );
});

test('a secret that was moved to another namespace or changed in the store is not used', async () => {
  const { secrets, store } = setUp();
  await secrets.current('shop');
  const [name, document] = [...store.documents][0]!;
  const kept = JSON.parse(document.text) as Record<string, unknown>;
  await store.engine.save({ ...document, name: 'thief/x', text: JSON.stringify({ ...kept, namespace: 'thief' }) });
  await assert.rejects(secrets.current('thief'), { code: 'secrets-locked', message: /was changed in the store/ });
  await store.engine.save({ ...document, text: JSON.stringify({ ...kept, sealed: `${String(kept['sealed'])}A` }) });
  await assert.rejects(secrets.current('shop'), { code: 'secrets-locked' });
  assert.ok(store.documents.has(name));
});

test('a store that is away is asked again by the next callback', async () => {
  const { secrets, store } = setUp();
  await secrets.current('shop');
  const { list } = store.engine;
  store.engine.list = () => Promise.reject(new Error('away'));
  await store.engine.save([...store.documents.values()][0]!);
  await assert.rejects(secrets.current('shop'), /away/);
  store.engine.list = list;
  assert.equal((await secrets.current('shop')).length, 1);
});

test('what signs is opened once for many callbacks, again after a hint, and what could not be opened by the next one', async () => {
  const real = keyOf(newKey());
  let looks = 0;
  let isAway = true;
  const find = () => (looks++, isAway ? Promise.reject(new Error('away')) : real.find());
  const { secrets, store } = setUp({ key: { ...real, find } });
  isAway = false;
  const [first] = await secrets.current('default');
  looks = 0;
  isAway = true;
  await assert.rejects(secrets.current('default'), /away/);
  isAway = false;
  const all = await Promise.all(Array.from({ length: 50 }, () => secrets.current('default')));
  assert.deepEqual(new Set(all.map(([one]) => one!.secret)), new Set([first!.secret]));
  assert.equal(looks, 2);
  const rotated = await secrets.rotate('default', { overlapMs: 1000 });
  assert.deepEqual(
    (await secrets.current('default')).map(({ id }) => id),
    [rotated.id, first!.id],
  );
  assert.equal(store.documents.size, 2);
});
