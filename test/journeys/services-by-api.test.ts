// Services that are made, changed and removed over the API while the server works: at once where it was asked, soon on every node, and over restarts.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { backendFor, gate } from '../support/backend.ts';
import { get, type Received, send, type Sent, until } from '../support/http.ts';
import { assertProblem, ended, resultOf, statusWhen, submit } from '../support/operations.ts';
import { reply, takeOne } from '../support/pull-worker.ts';
import { type ServerSettings, serverFor, temporaryFolder } from '../support/server.ts';
import { variant } from '../support/variant.ts';

const loopback = { allowNetwork: ['127.0.0.0/8', '::1/128'] };

interface Shown {
  name: string;
  source: string;
  savedAt: string | null;
  document: Record<string, unknown> & { target: { url?: string; headers?: Record<string, string>; pull?: boolean } };
}

const at = (base: string, name: string): string => `${base}/v1/services/${name}`;
const put = (base: string, name: string, document: Record<string, unknown>, sent: Sent = {}): Promise<Received> =>
  send(at(base, name), { method: 'PUT', body: document, ...sent });
const remove = (base: string, name: string, sent: Sent = {}): Promise<Received> =>
  send(at(base, name), { method: 'DELETE', ...sent });

const start = (t: TestContext, settings: ServerSettings = {}): ReturnType<typeof serverFor> =>
  serverFor(t, { ...settings, fields: { ...loopback, ...settings.fields } });

/** Another node hears of a change a moment later: asks until so many answers in a row, more than there are nodes, agree. */
async function everywhere(ask: () => Promise<boolean>): Promise<void> {
  let inARow = 0;
  await until(async () => {
    inARow = (await ask()) ? inARow + 1 : 0;
    return inARow >= 4 ? true : undefined;
  });
}

const isThere = (base: string, name: string, there: boolean): Promise<void> =>
  everywhere(async () => (await get(at(base, name))).status === (there ? 200 : 404));

test('a service that is put works, shows its defaults and no secret, and survives a restart', async (t) => {
  const backend = await backendFor(t, () => ({ body: 'scored' }));
  const server = await start(t, { data: 'folder' });
  assertProblem(await send(`${server.url}/v1/call/score`, { method: 'POST' }), 404, 'unknown-service');

  const target = { url: backend.url, headers: { 'X-Api-Key': 'sesame' } };
  const made = await put(server.url, 'score', { target, timeout: '90s', concurrency: 3 });
  assert.equal(made.status, 201, made.text);
  assert.equal(made.headers['location'], at(server.url, 'score'));
  const shown = made.json<Shown & Record<string, unknown>>();
  assert.deepEqual([shown.name, shown.source], ['score', 'api']);
  assert.ok(Date.parse(shown.savedAt!) > 0);
  assert.deepEqual(shown.document.target, { url: backend.url, headers: { 'X-Api-Key': '***' } });
  assert.deepEqual(
    [shown.document['timeout'], shown.document['concurrency'], shown.document['mode'], shown.document['retry']],
    ['90s', 3, 'async', { maxAttempts: 5, initialDelay: '1s', maxDelay: '5m' }],
  );
  assert.doesNotMatch(made.text, /sesame/);
  await isThere(server.url, 'score', true);

  const before = await submit(server.url, 'score', { body: 'first' });
  assert.equal((await resultOf(before.result)).text, 'scored');
  assert.equal(backend.requests[0]!.headers['x-api-key'], 'sesame');
  const list = (await get(`${server.url}/v1/services`)).json<{ items: { name: string; source: string }[] }>();
  assert.deepEqual(
    list.items.map(({ name, source }) => [name, source]),
    [['score', 'api']],
  );

  await server.restart();
  const after = await submit(server.url, 'score', { body: 'second' });
  assert.equal((await resultOf(after.result)).text, 'scored');
  const again = await get(at(server.url, 'score'));
  assert.deepEqual(again.json<Shown>(), shown);
  assert.doesNotMatch(again.text, /sesame/);
  const same = await put(server.url, 'score', { target, timeout: '90s', concurrency: 3 });
  assert.equal(same.status, 200, 'the same again is a change of what is there');
});

test('the target of a service is changed while it works: what is under way ends where it began', async (t) => {
  const hold = gate();
  const old = await backendFor(t, async () => {
    await hold.opened;
    return { body: 'old' };
  });
  const fresh = await backendFor(t, () => ({ body: 'new' }));
  const server = await start(t);
  await put(server.url, 'score', { target: { url: old.url } });
  await isThere(server.url, 'score', true);
  const first = await submit(server.url, 'score');
  await old.received(1);

  assert.equal((await put(server.url, 'score', { target: { url: fresh.url } })).status, 200);
  await everywhere(async () => (await get(at(server.url, 'score'))).json<Shown>().document.target.url === fresh.url);
  const second = await submit(server.url, 'score');
  assert.equal((await resultOf(second.result)).text, 'new');
  hold.open();
  assert.equal((await resultOf(first.result)).text, 'old');
  assert.equal(old.requests.length, 1);
});

test('more concurrency takes effect at once, less of it for the attempts that follow', async (t) => {
  let most = 0;
  let now = 0;
  let hold = gate();
  const backend = await backendFor(t, async () => {
    most = Math.max(most, ++now);
    await hold.opened;
    now--;
    return {};
  });
  const server = await start(t, { data: 'folder' });
  const target = { url: backend.url };
  await put(server.url, 'score', { target, concurrency: 1 });
  await isThere(server.url, 'score', true);
  const waiting = await Promise.all(Array.from({ length: 6 }, () => submit(server.url, 'score')));
  await backend.received(1);

  await put(server.url, 'score', { target, concurrency: 3 });
  await backend.received(3);
  await put(server.url, 'score', { target, concurrency: 1 });
  await everywhere(async () => (await get(at(server.url, 'score'))).json<Shown>().document['concurrency'] === 1);
  hold.open();
  await Promise.all(waiting.map(({ status }) => ended(status)));
  // Each node has as many of its own, and what it had asked for before it heard of less it still got.
  assert.ok(most >= 3 && most <= 6, `${most} at once`);
  [most, hold] = [0, gate()];
  const late = await Promise.all(Array.from({ length: 4 }, () => submit(server.url, 'score')));
  await backend.received(7);
  hold.open();
  await Promise.all(late.map(({ status }) => ended(status)));
  assert.ok(most >= 1 && most <= 2, `${most} at once after the change; one for each node is allowed`);
});

test('a removed service takes nothing new; what runs ends, results stay, and it can come back as another kind', async (t) => {
  const hold = gate();
  const backend = await backendFor(t, async () => {
    await hold.opened;
    return { body: 'at the last moment' };
  });
  const server = await start(t);
  await put(server.url, 'score', { target: { url: backend.url }, concurrency: 1 });
  await isThere(server.url, 'score', true);
  // One for each node: then none has room for another.
  const running = await Promise.all(Array.from({ length: variant.nodes }, () => submit(server.url, 'score')));
  await backend.received(variant.nodes);
  const waiting = await submit(server.url, 'score', { body: 'not begun' });

  const removed = await remove(server.url, 'score');
  assert.equal(removed.status, 204, removed.text);
  assert.equal(removed.body.length, 0);
  await isThere(server.url, 'score', false);
  assertProblem(await send(`${server.url}/v1/call/score`, { method: 'POST' }), 404, 'unknown-service');
  assertProblem(await remove(server.url, 'score'), 404, 'unknown-service');
  assertProblem(await get(at(server.url, 'score')), 404, 'unknown-service');
  hold.open();
  for (const { result } of running) assert.equal((await resultOf(result)).text, 'at the last moment');
  assert.equal((await statusWhen(waiting.status, () => true)).status, 'queued', 'what had not begun stays as it is');

  assert.equal((await put(server.url, 'score', { target: { pull: true } })).status, 201);
  await isThere(server.url, 'score', true);
  const lease = await takeOne(server.url, 'score');
  assert.equal(lease.operation.id, waiting.id, 'and is worked off when the service comes back');
  assert.equal((await reply(server.url, lease.token, 'by hand')).status, 200);
  assert.equal((await resultOf(waiting.result)).text, 'by hand');
  assert.equal(backend.requests.length, variant.nodes);
});

test('a service of the configuration is shown and read-only', async (t) => {
  const server = await start(t, {
    services: {
      jobs: { target: { pull: true } },
      score: { target: { url: 'http://10.0.0.7', headers: { Key: 'sesame' } } },
    },
  });
  const shown = await get(at(server.url, 'score'));
  assert.deepEqual(shown.json<Shown>().document.target, { url: 'http://10.0.0.7', headers: { Key: '***' } });
  assert.deepEqual([shown.json<Shown>().source, shown.json<Shown>().savedAt], ['config', null]);
  for (const answer of [await put(server.url, 'jobs', { target: { pull: true } }), await remove(server.url, 'jobs')])
    assertProblem(answer, 409, 'service-read-only');
  assert.equal((await get(at(server.url, 'jobs'))).json<Shown>().source, 'config');
});

test('only a key of the namespace default changes services; all may look, and all may use them', async (t) => {
  const server = await start(t, { namespaces: ['default', 'shop'] });
  const [operator, shop] = [server.key('default'), server.key('shop')];
  const document = { target: { pull: true } };
  assertProblem(await put(server.url, 'jobs', document), 401, 'unauthenticated');
  assertProblem(await put(server.url, 'jobs', document, { key: shop }), 403, 'insufficient-scope');
  assertProblem(await get(at(server.url, 'jobs'), { key: shop }), 404, 'unknown-service');
  assert.equal((await put(server.url, 'jobs', document, { key: operator })).status, 201);
  assertProblem(await remove(server.url, 'jobs', { key: shop }), 403, 'insufficient-scope');
  await everywhere(async () => (await get(at(server.url, 'jobs'), { key: shop })).status === 200);
  await submit(server.url, 'jobs', { key: shop });
});

test('where the configuration takes a name later, it wins, the document waits behind it, and the operator is told', async (t) => {
  const data = join(await temporaryFolder(t), 'data');
  const told: string[] = [];
  const first = await start(t, { data });
  assert.equal((await put(first.url, 'jobs', { target: { pull: true }, timeout: '7s' })).status, 201);
  await first.stop();

  const log = { debug: undefined, info: undefined, error() {} };
  const warn = (event: string, fields?: object): void => void told.push(`${event} ${JSON.stringify(fields)}`);
  const second = await start(t, {
    data,
    services: { jobs: { target: { pull: true }, timeout: '9s' } },
    extras: { log: { ...log, warn } },
  });
  const { source, document } = (await get(at(second.url, 'jobs'))).json<Shown>();
  assert.deepEqual([source, document['timeout']], ['config', '9s']);
  assert.ok(
    told.some((line) => line.startsWith('services.unused') && line.includes('jobs')),
    told.join('\n'),
  );
  await second.stop();

  const third = await start(t, { data });
  assert.equal((await get(at(third.url, 'jobs'))).json<Shown>().document['timeout'], '7s');
});
