// Named documents: saved whole, replaced, removed, listed by kind, and there after a restart.
import assert from 'node:assert/strict';
import type { Engine, NamedDocument } from '../engine.ts';
import { type Case, within } from './fixture.ts';

const document = (name: string, more: Partial<NamedDocument> = {}): NamedDocument => ({
  kind: 'service',
  name,
  text: `{"name":"${name}"}`,
  savedAt: 17,
  ...more,
});

/** Resolves when the engine says that documents have changed. */
const toldOfDocuments = (engine: Engine): Promise<void> =>
  within(
    new Promise((resolve) => engine.onSignal(({ kind }) => kind === 'documents' && resolve())),
    'the engine says that documents have changed',
  );

export const documentCases: Case[] = [
  {
    name: 'documents of a kind are listed by name, with all they were given',
    async run(f) {
      assert.deepEqual(await f.engine.list('service'), []);
      const odd = document('b/ä \u{1f600}', { text: '{ "a" : 1.0, "a" : 2 }', savedAt: f.clock.now() });
      for (const one of [document('c'), odd, document('a'), document('a', { kind: 'other' })]) await f.engine.save(one);
      assert.deepEqual(await f.engine.list('service'), [document('a'), odd, document('c')]);
      assert.deepEqual(await f.engine.list('other'), [document('a', { kind: 'other' })]);
    },
  },
  {
    name: 'a document takes the place of the one of its kind and name',
    async run(f) {
      await f.engine.save(document('a'));
      await f.engine.save(document('a', { text: '"new"', savedAt: 18 }));
      assert.deepEqual(await f.engine.list('service'), [document('a', { text: '"new"', savedAt: 18 })]);
    },
  },
  {
    name: 'a document is removed once, and no other with it',
    async run(f) {
      for (const one of [document('a'), document('b'), document('a', { kind: 'other' })]) await f.engine.save(one);
      assert.equal(await f.engine.remove({ kind: 'service', name: 'a' }), true);
      assert.equal(await f.engine.remove({ kind: 'service', name: 'a' }), false);
      assert.deepEqual(await f.engine.list('service'), [document('b')]);
      assert.equal((await f.engine.list('other')).length, 1);
    },
  },
  {
    name: 'who listens is told that a document was saved or removed, and then finds it so',
    async run(f) {
      const saved = toldOfDocuments(f.engine);
      await f.engine.save(document('a'));
      await saved;
      assert.equal((await f.engine.list('service')).length, 1);
      const removed = toldOfDocuments(f.engine);
      await f.engine.remove({ kind: 'service', name: 'a' });
      await removed;
      assert.deepEqual(await f.engine.list('service'), []);
    },
  },
  {
    name: 'documents outlive a restart',
    durableOnly: true,
    async run(f) {
      await f.engine.save(document('a'));
      await f.reopen();
      assert.deepEqual(await f.engine.list('service'), [document('a')]);
    },
  },
  {
    name: 'a document saved or removed on one node is heard of on another, which then finds it so',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      const saved = toldOfDocuments(b.engine);
      await f.engine.save(document('a'));
      assert.deepEqual(await b.engine.list('service'), [document('a')]);
      await saved;
      const removed = toldOfDocuments(f.engine);
      assert.equal(await b.engine.remove({ kind: 'service', name: 'a' }), true);
      assert.deepEqual(await f.engine.list('service'), []);
      await removed;
      const nodes = [f, b, await f.another()];
      const texts = nodes.map((_, i) => `"${i}"`);
      await Promise.all(nodes.map(({ engine }, i) => engine.save(document('same', { text: texts[i]! }))));
      const lists = await Promise.all(nodes.map(({ engine }) => engine.list('service')));
      assert.equal(lists[0]?.length, 1);
      assert.ok(texts.includes(lists[0][0]!.text));
      assert.deepEqual(lists[1], lists[0]);
      assert.deepEqual(lists[2], lists[0]);
    },
  },
];
