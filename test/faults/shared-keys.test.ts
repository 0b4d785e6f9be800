// Business keys under load, over several nodes too: computed once whoever asks where, and nobody is answered with an older result than one that
// somebody has been told of.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { resolveConfig, startServer } from '@waitless/server';
import { backendFor, gate } from '../support/backend.ts';
import { cleanUp } from '../support/cleanup.ts';
import { get, post, type Received, send } from '../support/http.ts';
import { waitersReach } from '../support/operations.ts';
import { newStore } from '../support/postgres.ts';
import { serverFor, temporaryFolder } from '../support/server.ts';
import { countsOn, withPostgres } from './postgres-nodes.ts';

async function threeServers(t: TestContext, services: Record<string, unknown>): Promise<string[]> {
  const store = await newStore(t);
  const { config } = resolveConfig({
    document: { logLevel: 'silent', services },
    options: { port: '0', data: store.url },
    env: {},
    cwd: await temporaryFolder(t),
  });
  const urls: string[] = [];
  for (let i = 0; i < 3; i++) {
    const server = await startServer(config);
    cleanUp(t, () => server.stop());
    urls.push(server.url);
  }
  return urls;
}

const score = (url: string) => ({ score: { target: { url }, key: { body: '/customerId' }, validFor: '1h' } });

test('100 callers on three nodes who want the same at once cost one computation', withPostgres, async (t) => {
  const done = gate();
  const backend = await backendFor(t, async () => {
    await done.opened;
    return { body: 'the score' };
  });
  const urls = await threeServers(t, score(backend.url));
  const ask = (i: number): Promise<Received> =>
    post(`${urls[i % 3]}/v1/call/score`, { body: '{"customerId":"42"}', headers: { Prefer: 'wait=30' } });
  const asking = Array.from({ length: 100 }, (_, i) => ask(i));
  for (const [i, url] of urls.entries()) await waitersReach(url, (waiters) => waiters === (i === 0 ? 34 : 33));
  done.open();
  const answers = await Promise.all(asking);
  assert.deepEqual(new Set(answers.map(({ status, text }) => `${status} ${text}`)), new Set(['200 the score']));
  assert.equal(new Set(answers.map(({ headers }) => headers['operation-id'])).size, 1);
  assert.equal(backend.requests.length, 1);
  assert.equal((await countsOn(urls[0]!))['score']!['succeeded'], 1);
  for (const i of [0, 1, 2]) assert.match((await ask(i)).headers['cache-status']!, /^waitless; hit/);
  assert.equal(backend.requests.length, 1);
});

/** Eight who compute anew and four who read, on twenty keys over all nodes. */
async function assertNothingGoesBack(
  t: TestContext,
  start: (services: Record<string, unknown>) => Promise<string[]>,
): Promise<void> {
  let made = 0;
  // Each result is a larger number than all that were acknowledged before it was asked for.
  const backend = await backendFor(t, () => ({ body: String(++made) }));
  const urls = await start(score(backend.url));
  const keys = Array.from({ length: 20 }, (_, i) => `c-${i}`);
  const newest = new Map<string, number>();
  const wrong: string[] = [];
  let writing = 8;
  let reads = 0;
  const writer = async (number: number): Promise<void> => {
    for (let i = 0; i < 25; i++) {
      const key = keys[(number * 7 + i) % keys.length]!;
      const answer = await post(`${urls[(number + i) % 3]}/v1/call/score`, {
        body: JSON.stringify({ customerId: key }),
        headers: { Prefer: 'wait=30', 'Cache-Control': 'no-cache' },
      });
      assert.equal(answer.status, 200, answer.text);
      newest.set(key, Math.max(newest.get(key) ?? 0, Number(answer.text)));
    }
    writing--;
  };
  const reader = async (number: number): Promise<void> => {
    for (let i = number; writing > 0; i++) {
      const key = keys[i % keys.length]!;
      const known = newest.get(key);
      const url = urls[i % 3]!;
      const bySubmit = i % 2 === 0;
      const answer = bySubmit
        ? await post(`${url}/v1/call/score`, {
            body: JSON.stringify({ customerId: key }),
            headers: { 'Cache-Control': 'only-if-cached' },
          })
        : await get(`${url}/v1/services/score/results/${key}`);
      if (answer.status === 200) {
        reads++;
        if (known !== undefined && Number(answer.text) < known) wrong.push(`${key}: ${answer.text} after ${known}`);
      } else if (known !== undefined) wrong.push(`${key}: ${answer.status} after ${known}`);
    }
  };
  await Promise.all([...Array.from({ length: 8 }, (_, i) => writer(i)), ...[0, 1, 2, 3].map(reader)]);
  assert.deepEqual(wrong, []);
  assert.ok(reads >= 50, `only ${reads} reads were made`);
}

test(
  'eight writers on twenty keys: no node ever shows an older result than the newest that was acknowledged',
  withPostgres,
  (t) => assertNothingGoesBack(t, (services) => threeServers(t, services)),
);

test('eight writers on twenty keys: a server never shows an older result than the newest that was acknowledged', (t) =>
  assertNothingGoesBack(t, async (services) => {
    const { url } = await serverFor(t, { services });
    return [url, url, url];
  }));

test('what is forgotten on one node is forgotten on all', withPostgres, async (t) => {
  const backend = await backendFor(t, (_, number) => ({ body: `score ${number}` }));
  const urls = await threeServers(t, score(backend.url));
  const ask = (i: number): Promise<Received> =>
    post(`${urls[i]}/v1/call/score`, { body: '{"customerId":"42"}', headers: { Prefer: 'wait=30' } });
  assert.equal((await ask(0)).text, 'score 1');
  assert.equal((await ask(1)).text, 'score 1');
  assert.equal((await send(`${urls[2]}/v1/services/score/results/42`, { method: 'DELETE' })).status, 204);
  assert.equal((await get(`${urls[0]}/v1/services/score/results/42`)).status, 404);
  assert.equal((await ask(1)).text, 'score 2');
  assert.equal((await ask(0)).text, 'score 2');
});
