// The embedded engine keeps the promises of the engine interface, in a file and in memory, and a few of its own.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { conformance } from '../../engine/conformance/conformance.ts';
import { sqliteEngine } from './engine.ts';

const folderStore = async () => {
  const folder = await mkdtemp(join(tmpdir(), 'waitless-engine-'));
  return {
    folder,
    engine: () => sqliteEngine({ folder }),
    destroy: () => rm(folder, { recursive: true, force: true }),
  };
};

conformance({ name: 'sqlite in a file', create: folderStore }, { test, durable: true });
conformance(
  {
    name: 'sqlite in memory',
    create: async () => ({ engine: () => sqliteEngine({ folder: ':memory:' }), destroy: async () => {} }),
  },
  { test, durable: false },
);

test('sqlite: a second server on one folder is refused with a sentence that names the folder', async () => {
  const store = await folderStore();
  const first = store.engine();
  await first.open(Date.now());
  await assert.rejects(
    store.engine().open(Date.now()),
    (error: Error) => error.message.includes(store.folder) && /another process/.test(error.message),
  );
  await first.close();
  const second = store.engine();
  await second.open(Date.now());
  await second.close();
  await store.destroy();
});

test('sqlite: a store with a newer schema is refused by number', async () => {
  const store = await folderStore();
  const engine = store.engine();
  await engine.open(Date.now());
  await engine.close();
  const db = new Database(join(store.folder, 'waitless.db'));
  db.pragma('user_version = 99');
  db.close();
  await assert.rejects(store.engine().open(Date.now()), /schema 99/);
  await store.destroy();
});

test('sqlite: a closed store refuses, it does not hang', async () => {
  const store = await folderStore();
  const engine = store.engine();
  await engine.open(Date.now());
  await engine.close();
  await assert.rejects(engine.counts(), /closed/);
  await store.destroy();
});
