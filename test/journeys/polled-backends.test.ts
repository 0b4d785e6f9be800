// Backends that are asynchronous already and cannot call back: they say 202 and where to ask, and are asked for the client.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Backend, type BackendAnswer, type BackendRequest, backendFor } from '../support/backend.ts';
import { post, type Received } from '../support/http.ts';
import { assertProblem, ended, resultOf, statusOf, submit } from '../support/operations.ts';
import { serverFor, type TestServer } from '../support/server.ts';

const soon = { 'Retry-After': '1' };

async function polled(
  t: Parameters<typeof serverFor>[0],
  behaviour: (request: BackendRequest, number: number) => BackendAnswer,
  { service = {}, ...settings }: { service?: Record<string, unknown>; data?: string } = {},
): Promise<{ server: TestServer; backend: Backend }> {
  const backend = await backendFor(t, behaviour);
  const target = { url: `${backend.url}/reports`, headers: { 'X-Api-Key': 'ours' } };
  const server = await serverFor(t, { ...settings, services: { reports: { target, poll: true, ...service } } });
  return { server, backend };
}

const seen = ({ requests }: Backend): string[] => requests.map(({ method, target }) => `${method} ${target}`);

test('a backend that points to its Location is asked there until the result is there', async (t) => {
  const { server, backend } = await polled(
    t,
    ({ method }, number) =>
      method === 'POST'
        ? { status: 202, headers: { ...soon, Location: '/jobs/7' }, body: 'wait' }
        : number < 4
          ? { status: 202, headers: soon, body: '{"percentComplete": 50}' }
          : { status: 200, headers: { 'Content-Type': 'text/csv' }, body: 'a,1e999\n' },
    { service: { forward: ['x-user-token'] } },
  );
  const { id, status, result } = await submit(server.url, 'reports', {
    body: 'year=2026',
    headers: { Accept: 'text/csv', 'X-User-Token': 'alice', 'X-Other': 'not for polls', 'Correlation-Id': 'c-1' },
  });
  const operation = await ended(status);
  assert.deepEqual([operation.status, operation.attempt, operation.progress?.percent], ['succeeded', 1, 50]);
  const answer = await resultOf(result);
  assert.deepEqual([answer.status, answer.headers['content-type'], answer.text], [200, 'text/csv', 'a,1e999\n']);
  assert.deepEqual(seen(backend), ['POST /reports', 'GET /jobs/7', 'GET /jobs/7', 'GET /jobs/7']);
  const look = backend.requests[1]!.headers;
  assert.deepEqual(
    [look['operation-id'], look['correlation-id'], look['accept'], look['x-user-token'], look['x-api-key']],
    [id, 'c-1', 'text/csv', 'alice', 'ours'],
  );
  assert.equal(look['x-other'], undefined);
  assert.equal(look['content-length'], undefined);
});

test('a backend with a status document is asked for it, and its result fetched where it says', async (t) => {
  const { server, backend } = await polled(t, ({ method, target }, number) => {
    if (method === 'POST') return { status: 202, headers: { ...soon, 'Operation-Location': '/ops/7' } };
    if (target === '/results/7') return { body: 'the report' };
    return {
      headers: soon,
      body: JSON.stringify(
        number < 3 ? { status: 'Running' } : { status: 'Succeeded', resourceLocation: '/results/7' },
      ),
    };
  });
  const { status, result } = await submit(server.url, 'reports', { body: 'x' });
  assert.equal((await ended(status)).status, 'succeeded');
  assert.equal((await resultOf(result)).text, 'the report');
  assert.deepEqual(seen(backend), ['POST /reports', 'GET /ops/7', 'GET /ops/7', 'GET /results/7']);
});

test('a failure in a status document surfaces with its code and message', async (t) => {
  const { server } = await polled(t, ({ method }) =>
    method === 'POST'
      ? { status: 202, headers: { ...soon, 'Operation-Location': '/ops/7' } }
      : { body: '{"status": "Failed", "error": {"code": "NoPaper", "message": "the printer is out of paper"}}' },
  );
  const { status, result } = await submit(server.url, 'reports', { body: 'x' });
  const operation = await ended(status);
  assert.deepEqual(
    [operation.status, operation.error?.code, operation.error?.message],
    ['failed', 'NoPaper', 'the printer is out of paper'],
  );
  const answer: Received = await resultOf(result);
  assertProblem(answer, 502, 'failed-by-worker');
  assert.match(answer.text, /NoPaper.*out of paper/);
});

test('a backend that cannot say at the moment is asked again, and no attempt is used', async (t) => {
  const { server, backend } = await polled(t, ({ method }, number) => {
    if (method === 'POST') return { status: 202, headers: { ...soon, Location: '/jobs/7' } };
    return number === 2 ? { status: 503, headers: soon } : number === 3 ? { reset: true } : { body: 'done' };
  });
  const { status, result } = await submit(server.url, 'reports', { body: 'x' });
  assert.deepEqual([(await ended(status)).attempt, (await resultOf(result)).text], [1, 'done']);
  assert.equal(backend.requests.length, 4);
});

test('a backend that points to another origin is not asked there, and the operation says why', async (t) => {
  const elsewhere = await backendFor(t);
  const { server, backend } = await polled(t, () => ({
    status: 202,
    headers: { 'Operation-Location': `${elsewhere.url}/ops/7` },
  }));
  const { status, result } = await submit(server.url, 'reports', { body: 'x' });
  const operation = await ended(status);
  assert.equal(operation.error?.code, 'bad-backend-response');
  assert.match(operation.error.message, /Operation-Location .* only the service's own origin/);
  assertProblem(await resultOf(result), 502, 'bad-backend-response');
  assert.deepEqual([backend.requests.length, elsewhere.requests.length], [1, 0]);
});

test('a backend that is never done fails its attempt at the reply timeout', async (t) => {
  const { server } = await polled(
    t,
    ({ method }) => ({ status: 202, headers: { ...soon, ...(method === 'POST' ? { Location: '/jobs/7' } : {}) } }),
    { service: { replyTimeout: '1s', retry: { maxAttempts: 1 } } },
  );
  const { status } = await submit(server.url, 'reports', { body: 'x' });
  assert.equal((await ended(status)).error?.code, 'attempts-exhausted');
});

test('a backend may still call back, and is not asked any more then', async (t) => {
  const { server, backend } = await polled(t, () => ({
    status: 202,
    headers: { 'Retry-After': '3600', Location: '/jobs/7' },
  }));
  const { status, result } = await submit(server.url, 'reports', { body: 'x' });
  const [request] = await backend.received(1);
  assert.equal((await post(request!.headers['operation-reply-url']!, { body: 'called back' })).status, 200);
  assert.equal((await ended(status)).status, 'succeeded');
  assert.equal((await resultOf(result)).text, 'called back');
  assert.equal(backend.requests.length, 1);
});

test('asking goes on after a restart, and the request is not made again', async (t) => {
  let ready = false;
  const { server, backend } = await polled(
    t,
    ({ method }) => {
      if (method === 'POST') return { status: 202, headers: { ...soon, Location: '/jobs/7' } };
      return ready ? { body: 'after the restart' } : { status: 202, headers: soon };
    },
    { data: 'folder' },
  );
  const { status, result } = await submit(server.url, 'reports', { body: 'x' });
  await backend.received(2);
  assert.equal((await statusOf(status)).status, 'running');
  await server.restart();
  ready = true;
  assert.equal((await ended(status)).attempt, 1);
  assert.equal((await resultOf(result)).text, 'after the restart');
  assert.equal(seen(backend).filter((line) => line.startsWith('POST')).length, 1);
});

test('without poll a backend that says 202 is waited for and never asked', async (t) => {
  const { server, backend } = await polled(t, () => ({ status: 202, headers: { ...soon, Location: '/jobs/7' } }), {
    service: { poll: false, replyTimeout: '1s', retry: { maxAttempts: 1 } },
  });
  const { status } = await submit(server.url, 'reports', { body: 'x' });
  assert.equal((await ended(status)).error?.code, 'attempts-exhausted');
  assert.deepEqual(seen(backend), ['POST /reports']);
});
