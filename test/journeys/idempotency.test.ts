// A repeated submit is safe: one key, one operation, one answer, whenever and however often it is sent.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backendFor, gate } from '../support/backend.ts';
import { get, post, type Received, send } from '../support/http.ts';
import { assertProblem, ended, statusOf, submit } from '../support/operations.ts';
import { serverFor, type TestServer } from '../support/server.ts';
import { reply, takeOne } from '../support/pull-worker.ts';

const jobs = { jobs: { target: { pull: true } }, other: { target: { pull: true } } };
const keyed = (key: string, more: Record<string, string> = {}): Record<string, string> => ({
  'Idempotency-Key': key,
  ...more,
});

/** Two answers that differ in nothing but what may differ. */
function assertSameAnswer(first: Received, second: Received): void {
  assert.equal(second.status, first.status);
  assert.deepEqual(second.body, first.body, 'the body is byte-identical');
  const may = new Set(['date', 'retry-after', 'request-id', 'idempotent-replayed']);
  const compared = ({ headers }: Received): [string, string | undefined][] =>
    Object.entries(headers).filter(([name]) => !may.has(name));
  assert.deepEqual(compared(second), compared(first));
}

const countOf = async (server: TestServer): Promise<number> =>
  (await get(`${server.url}/v1/operations?limit=1000`)).json<{ items: unknown[] }>().items.length;

test('the same key and the same request give the same 202, marked as replayed', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const sent = {
    body: '{"a":1}',
    headers: keyed('"k-1"', { 'Content-Type': 'application/json', 'Correlation-Id': 'c-1', 'Operation-Labels': 'a=b' }),
  };

  const first = await post(`${server.url}/v1/call/jobs/path?q=1`, sent);
  const second = await post(`${server.url}/v1/call/jobs/path?q=1`, sent);
  // What is not in the fingerprint may differ, and the first answer is given all the same.
  const third = await post(`${server.url}/v1/call/jobs/path?q=1`, {
    ...sent,
    headers: { ...sent.headers, 'Correlation-Id': 'c-2', 'X-Other': '1' },
  });

  assert.equal(first.status, 202);
  assert.equal(first.headers['idempotent-replayed'], undefined);
  for (const repeat of [second, third]) {
    assertSameAnswer(first, repeat);
    assert.equal(repeat.headers['idempotent-replayed'], 'true');
  }
  assert.equal(await countOf(server), 1);
});

test('a quoted key and its bare token are one key', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const first = await submit(server.url, 'jobs', { body: 'x', headers: keyed('"abc-1"') });
  const second = await submit(server.url, 'jobs', { body: 'x', headers: keyed('abc-1') });
  assert.equal(second.id, first.id);
});

test('a key is known within its namespace and its service alone', async (t) => {
  const server = await serverFor(t, { services: jobs, namespaces: ['red', 'blue'] });
  const ids = new Set<string>();
  for (const namespace of ['red', 'blue'])
    for (const service of ['jobs', 'other'])
      ids.add(
        (
          await submit(server.url, service, {
            body: `${namespace} ${service}`,
            key: server.key(namespace),
            headers: keyed('k'),
          })
        ).id,
      );
  assert.equal(ids.size, 4);
});

test('another request under a used key is 422, whatever part of it differs, and nothing is stored', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const headers = keyed('k', { 'Content-Type': 'text/plain' });
  const first = await submit(server.url, 'jobs', { path: '/p?q=1', body: 'x', headers });

  const others = [
    { path: '/p?q=1', sent: { method: 'POST', body: 'y', headers } },
    { path: '/p?q=1', sent: { method: 'PUT', body: 'x', headers } },
    { path: '/p2?q=1', sent: { method: 'POST', body: 'x', headers } },
    { path: '/p?q=2', sent: { method: 'POST', body: 'x', headers } },
    { path: '/p', sent: { method: 'POST', body: 'x', headers } },
    { path: '/p?q=1', sent: { method: 'POST', body: 'x', headers: { ...headers, 'Content-Type': 'text/html' } } },
    { path: '/p?q=1', sent: { method: 'POST', body: 'x', headers: keyed('k') } },
  ];
  for (const { path, sent } of others)
    assertProblem(await send(`${server.url}/v1/call/jobs${path}`, sent), 422, 'idempotency-key-reused');

  assert.equal(await countOf(server), 1);
  assert.equal((await submit(server.url, 'jobs', { path: '/p?q=1', body: 'x', headers })).id, first.id);
});

test('40 concurrent twins of each of 25 keys are one operation per key', async (t) => {
  const server = await serverFor(t, { services: jobs, data: 'folder' });
  const answers = await Promise.all(
    Array.from({ length: 25 * 40 }, (_, index) =>
      submit(server.url, 'jobs', { body: `body ${index % 25}`, headers: keyed(`key-${index % 25}`) }),
    ),
  );

  for (let key = 0; key < 25; key++) {
    const twins = answers.filter((_, index) => index % 25 === key);
    assert.equal(new Set(twins.map(({ id }) => id)).size, 1);
    assert.equal(new Set(twins.map(({ answer }) => answer.text)).size, 1);
    assert.equal(
      twins.filter(({ answer }) => answer.headers['idempotent-replayed'] === undefined).length,
      1,
      'one of them was the first',
    );
  }
  assert.equal(await countOf(server), 25);
});

test('concurrent twins that differ: one wins, the others are 422', async (t) => {
  const server = await serverFor(t, { services: jobs });
  for (let round = 0; round < 10; round++) {
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        post(`${server.url}/v1/call/jobs`, { body: `body ${index}`, headers: keyed(`round-${round}`) }),
      ),
    );
    assert.deepEqual(
      answers.map(({ status }) => status).sort((a, b) => a - b),
      [202, 422, 422, 422, 422, 422, 422, 422],
    );
  }
});

test('a key holds over a restart, with the same bytes in the answer', async (t) => {
  const server = await serverFor(t, { services: jobs, data: 'folder' });
  const sent = { body: 'x', headers: keyed('k') };
  const first = await post(`${server.url}/v1/call/jobs`, sent);

  await server.restart();

  const second = await post(`${server.url}/v1/call/jobs`, sent);
  assertSameAnswer(first, second);
  assert.equal(second.headers['idempotent-replayed'], 'true');
  assertProblem(await post(`${server.url}/v1/call/jobs`, { ...sent, body: 'y' }), 422, 'idempotency-key-reused');
  assert.equal(await countOf(server), 1);
});

test('a repeat that waits latches on to the operation and answers with its result', async (t) => {
  const held = gate();
  const backend = await backendFor(t, async () => {
    await held.opened;
    return { status: 201, body: 'one result' };
  });
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });
  const first = await submit(server.url, 'score', { body: 'x', headers: keyed('k') });

  const waiting = Array.from({ length: 5 }, () =>
    post(`${server.url}/v1/call/score`, { body: 'x', headers: keyed('k', { Prefer: 'wait=30' }) }),
  );
  await backend.received(1);
  held.open();

  const after = await Promise.all(waiting);
  after.push(await post(`${server.url}/v1/call/score`, { body: 'x', headers: keyed('k', { Prefer: 'wait=30' }) }));
  for (const answer of after) {
    assert.deepEqual([answer.status, answer.text], [201, 'one result']);
    assert.equal(answer.headers['operation-id'], first.id);
    assert.equal(answer.headers['idempotent-replayed'], 'true');
  }
  // Without a wait the repeat is the 202 it was, also when the result is there.
  const patient = await post(`${server.url}/v1/call/score`, { body: 'x', headers: keyed('k') });
  assertSameAnswer(first.answer, patient);
  assert.equal(backend.requests.length, 1);
});

test('a key that points at a failed operation replays the failure', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const sent = { body: 'x', headers: keyed('k') };
  const first = await submit(server.url, 'jobs', sent);
  const { token } = await takeOne(server.url, 'jobs');
  await reply(server.url, token, 'no such person', { 'Result-Status': '404' });
  assert.equal((await ended(first.status)).status, 'failed');

  const again = await submit(server.url, 'jobs', sent);
  assert.equal(again.id, first.id);
  const waited = await post(`${server.url}/v1/call/jobs`, { ...sent, headers: { ...sent.headers, Prefer: 'wait=5' } });
  assert.deepEqual([waited.status, waited.text], [404, 'no such person']);
});

test('where the service says retryFailed, the key of a failed operation starts a new one, once', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true }, retryFailed: true } } });
  const sent = { body: 'x', headers: keyed('k') };
  const first = await submit(server.url, 'jobs', sent);
  const { token } = await takeOne(server.url, 'jobs');
  assert.equal((await submit(server.url, 'jobs', sent)).id, first.id, 'while it runs it is joined');
  await reply(server.url, token, 'broken', { 'Result-Status': '404' });

  const second = await submit(server.url, 'jobs', sent);
  assert.notEqual(second.id, first.id);
  assert.equal(second.answer.headers['idempotent-replayed'], undefined);
  assert.equal((await submit(server.url, 'jobs', sent)).id, second.id);
  const retried = await takeOne(server.url, 'jobs');
  await reply(server.url, retried.token, 'mended');
  assert.equal((await submit(server.url, 'jobs', sent)).id, second.id, 'a success is replayed');
  assert.equal((await statusOf(first.status)).status, 'failed', 'the first stays what it was');
  assertProblem(await post(`${server.url}/v1/call/jobs`, { ...sent, body: 'y' }), 422, 'idempotency-key-reused');
});

test('a key that cannot be read is 400 and nothing is stored', async (t) => {
  const server = await serverFor(t, { services: jobs });
  for (const key of ['', '""', '"open', 'two words', 'a,b', `"${'k'.repeat(256)}"`, '"caf\u00e9"'])
    assertProblem(
      await post(`${server.url}/v1/call/jobs`, { body: 'x', headers: keyed(key) }),
      400,
      'idempotency-key-invalid',
    );
  assert.equal(await countOf(server), 0);
  assert.equal(
    (await post(`${server.url}/v1/call/jobs`, { body: 'x', headers: keyed(`"${'k'.repeat(255)}"`) })).status,
    202,
  );
});
