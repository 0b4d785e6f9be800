// The database carries out a statement and its answer never arrives: nobody holds the work then, and it must not wait for the end of a lease.
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test, type TestContext } from 'node:test';
import type { TimelineEntry } from '@waitless/protocol';
import { resolveConfig, startServer } from '@waitless/server';
import { type Backend, backendFor } from '../support/backend.ts';
import { cleanUp } from '../support/cleanup.ts';
import { get, post } from '../support/http.ts';
import { ended, submit } from '../support/operations.ts';
import { newStore } from '../support/postgres.ts';
import { tcpProxy } from '../support/tcp-proxy.ts';
import { assertCountsAreRight, type Store, withPostgres } from './postgres-nodes.ts';

interface Scene {
  url: string;
  backend: Backend;
  store: Store;
  /** Cuts the connection behind the next statement of this name: it is carried out, its answer is lost. */
  loseAnswerTo: (statement: string) => { happened: boolean };
}

/** A node whose leases are far longer than the test, behind a proxy to its database. */
async function nodeBehindProxy(t: TestContext): Promise<Scene> {
  const store = await newStore(t);
  const backend = await backendFor(t);
  let cut = { name: Buffer.alloc(0), happened: true };
  const proxy = await tcpProxy(t, {
    to: Number(new URL(store.url).port),
    inspect: () => (chunk) => {
      if (cut.happened || !chunk.includes(cut.name)) return undefined;
      cut.happened = true;
      return { pass: chunk.length, ending: 'reset' };
    },
  });
  const { config } = resolveConfig({
    document: { logLevel: 'silent', services: { score: { target: { url: backend.url }, attemptTimeout: '1h' } } },
    options: { port: '0', data: Object.assign(new URL(store.url), { port: String(proxy.port) }).href },
    env: {},
    cwd: tmpdir(),
  });
  const server = await startServer(config);
  cleanUp(t, () => server.stop());
  // Everything is prepared and connected.
  await ended((await submit(server.url, 'score')).status);
  return {
    url: server.url,
    backend,
    store,
    // A prepared statement's name stands between zeros in the message that binds it.
    loseAnswerTo: (statement) => (cut = { name: Buffer.from(`\0${statement}\0`), happened: false }),
  };
}

const attemptsOf = async (status: string): Promise<unknown[]> =>
  (await get(`${status}/timeline`))
    .json<{ items: TimelineEntry[] }>()
    .items.flatMap((entry) => (entry.type === 'attempt' ? [[entry.attempt, entry.outcome]] : []));

test(
  'work that was leased by a statement without an answer is leased again, and no attempt is used up',
  withPostgres,
  async (t) => {
    const { url, backend, loseAnswerTo } = await nodeBehindProxy(t);
    const cut = loseAnswerTo('lease');
    // Work that waits for its time is handed out by a statement of its own.
    const { status } = await submit(url, 'score', { headers: { 'Operation-Delay': '1s' } });
    assert.equal((await ended(status)).status, 'succeeded');
    assert.ok(cut.happened, 'void: no answer was lost');
    assert.deepEqual(await attemptsOf(status), [
      [1, 'interrupted'],
      [1, 'succeeded'],
    ]);
    assert.equal(backend.requests.length, 2, 'one execution each');
    await assertCountsAreRight([url]);
  },
);

test(
  'a submit without an answer is a 503 that promises nothing; asked again under its key it is the operation that was stored',
  withPostgres,
  async (t) => {
    const { url, backend, loseAnswerTo } = await nodeBehindProxy(t);
    const cut = loseAnswerTo('submit-keyed');
    const sent = { body: 'x', headers: { 'Idempotency-Key': 'k' } };
    const unknown = await post(`${url}/v1/call/score`, sent);
    assert.ok(cut.happened, 'void: no answer was lost');
    assert.equal(unknown.status, 503);
    assert.equal(unknown.json()['accepted'], undefined, 'it may have been accepted');
    const { status, answer } = await submit(url, 'score', sent);
    assert.equal(answer.headers['idempotent-replayed'], 'true');
    assert.equal((await ended(status)).status, 'succeeded');
    assert.deepEqual(await attemptsOf(status), [
      [1, 'interrupted'],
      [1, 'succeeded'],
    ]);
    assert.equal(backend.requests.length, 2);
    await assertCountsAreRight([url]);
  },
);
