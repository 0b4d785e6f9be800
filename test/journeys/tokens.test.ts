// Read-only tokens: a page without an API key looks at its own operations with one, at nothing else, and for no longer than it says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, WaitlessError } from '@waitless/client';
import { backendFor, gate } from '../support/backend.ts';
import { manualTime } from '../support/clock.ts';
import { get, post, type Received, send } from '../support/http.ts';
import { assertProblem, resultOf, statusOf, submit, waitersReach } from '../support/operations.ts';
import { answerLease, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor } from '../support/server.ts';

interface Made {
  token: string;
  expiresAt: string;
}

async function tokenFor(base: string, body: Record<string, unknown>, key?: string): Promise<Made> {
  const answer = await post(`${base}/v1/tokens`, { body, ...(key === undefined ? {} : { key }) });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers['cache-control'], 'no-store');
  return answer.json<Made>();
}

const jobs = { jobs: { target: { pull: true } } };
const minuteMs = 60_000;

test('a token opens status, result, timeline and events of its operations, without a key and as often as one likes', async (t) => {
  const server = await serverFor(t, { services: jobs, namespaces: ['alice'] });
  const key = server.key('alice');
  const first = await submit(server.url, 'jobs', { body: 'x', key });
  const lease = await takeOne(server.url, 'jobs', { key });
  assert.equal((await reply(server.url, lease.token, 'the answer')).status, 200);
  const second = await submit(server.url, 'jobs', { body: 'y', key });
  const third = await submit(server.url, 'jobs', { body: 'z', key });
  const { token } = await tokenFor(server.url, { operations: [first.id, second.id, first.id] }, key);
  assert.match(token, /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{27}$/);

  const withKey = await statusOf(first.status, { key });
  for (let again = 0; again < 4; again++) {
    const looks = {
      status: await get(`${first.status}?token=${token}`),
      included: await get(`${first.status}?include=result&token=${token}`),
      result: await get(`${first.result}?token=${token}`),
      envelope: await get(`${first.result}?token=${token}&envelope=json`),
      timeline: await get(`${first.status}/timeline?token=${token}`),
      stream: await get(`${first.status}/events?token=${token}`),
      events: await get(`${first.status}/events?token=${token}`, { headers: { Accept: 'application/json' } }),
      head: await send(`${first.result}?token=${token}`, { method: 'HEAD' }),
    };
    for (const [name, { status, headers }] of Object.entries(looks)) {
      assert.equal(status, 200, name);
      assert.equal(headers['referrer-policy'], 'no-referrer', name);
    }
    assert.deepEqual(looks.status.json(), withKey);
    assert.equal(looks.included.json<{ result: { body: string } }>().result.body, 'the answer');
    assert.equal(looks.result.text, 'the answer');
    assert.equal(looks.result.headers['content-location'], first.result, 'the token is not repeated');
    for (const { rawHeaders, text } of Object.values(looks))
      assert.ok(!`${rawHeaders.join()}${text}`.includes(token), 'nor anywhere else');
    assert.equal((await get(`${second.status}?token=${token}`)).status, 200);
  }
  assertProblem(await get(`${third.status}?token=${token}`), 404, 'not-found');
  assertProblem(await get(`${server.url}/v1/operations?token=${token}`), 403, 'insufficient-scope');
  assertProblem(await get(first.status), 401, 'unauthenticated');
  const refused = await get(`${first.status}?token=${token}`, { key });
  assertProblem(refused, 400, 'invalid-parameter');
  assert.equal(refused.headers['referrer-policy'], 'no-referrer');
});

test('it ends when it says, a quarter of an hour after it was made or when it was asked to, and in an hour at most', async (t) => {
  const time = manualTime();
  const server = await serverFor(t, { services: jobs, extras: { clock: time.clock } });
  const { status, id } = await submit(server.url, 'jobs', { body: 'x' });
  const look = ({ token }: Made): Promise<Received> => get(`${status}?token=${token}`);
  const short = await tokenFor(server.url, { operations: [id], expiresIn: '1s' });
  const usual = await tokenFor(server.url, { operations: [id] });
  const longest = await tokenFor(server.url, { operations: [id], expiresIn: 3600 });
  const from = Date.parse(short.expiresAt) - 1000;
  assert.equal(Date.parse(usual.expiresAt) - from, 15 * minuteMs);
  assert.equal(Date.parse(longest.expiresAt) - from, 60 * minuteMs);
  for (const made of [short, usual, longest]) assert.equal((await look(made)).status, 200);

  const passes = async (ms: number, [ended, lives]: [Made, Made | undefined]): Promise<void> => {
    time.advance(ms - 1);
    assert.equal((await look(ended)).status, 200, 'to its last moment');
    time.advance(1);
    const answer = await look(ended);
    assertProblem(answer, 401, 'invalid-token');
    assert.match(answer.json<{ detail: string }>().detail, /expired/);
    assert.match(answer.headers['www-authenticate']!, /^Bearer/);
    assert.equal(answer.headers['referrer-policy'], 'no-referrer');
    if (lives) assert.equal((await look(lives)).status, 200);
  };
  await passes(1000, [short, usual]);
  await passes(15 * minuteMs - 1000, [usual, longest]);
  await passes(45 * minuteMs, [longest, undefined]);
});

test('a token outlives a restart', async (t) => {
  const server = await serverFor(t, { services: jobs, data: 'folder', namespaces: ['alice'] });
  const key = server.key('alice');
  const { status, id } = await submit(server.url, 'jobs', { body: 'x', key });
  const { token } = await tokenFor(server.url, { operations: [id], expiresIn: '1h' }, key);
  await server.restart();
  for (let again = 0; again < 2; again++) assert.equal((await statusOf(`${status}?token=${token}`)).id, id);
});

test('a wait with a token hears of the end, and no wait and no stream goes on beyond the token', async (t) => {
  const time = manualTime();
  const server = await serverFor(t, { services: jobs, extras: { clock: time.clock } });
  const { result, id } = await submit(server.url, 'jobs', { body: 'x' });
  const lease = await takeOne(server.url, 'jobs');
  const { token } = await tokenFor(server.url, { operations: [id], expiresIn: '30s' });
  const waiting = get(`${result}?token=${token}`, { headers: { Prefer: 'wait=30' } });
  await waitersReach(server.url, (waiters) => waiters >= 1);
  assert.equal((await reply(server.url, lease.token, 'heard')).status, 200);
  assert.equal((await waiting).text, 'heard');

  const other = await submit(server.url, 'jobs', { body: 'y' });
  const made = await tokenFor(server.url, { operations: [other.id], expiresIn: '30s' });
  time.advance(29_900);
  const answer = await get(`${other.result}?token=${made.token}`, { headers: { Prefer: 'wait=50' } });
  assert.equal(answer.status, 202, answer.text);
  assert.equal(answer.headers['preference-applied'], 'wait=0', 'a tenth of a second was left');
  const stream = await get(`${server.url}/v1/operations/${other.id}/events?token=${made.token}`);
  assert.equal(stream.headers['content-type'], 'text/event-stream');
  assert.match(stream.text, /"status":"queued"/);
  assert.equal((await statusOf(other.status)).done, false, 'the stream has ended, the operation has not');
});

test('a redirect to the result leads on with the token', async (t) => {
  const backend = await backendFor(t, () => ({ headers: { 'Referrer-Policy': 'unsafe-url' }, body: 'there' }));
  const server = await serverFor(t, { services: { slow: { target: { url: backend.url } } }, namespaces: ['alice'] });
  const key = server.key('alice');
  const { status, result, id } = await submit(server.url, 'slow', { path: '/a?b=c', body: 'x', key });
  await resultOf(result, { key });
  const { token } = await tokenFor(server.url, { operations: [id] }, key);
  const answer = await get(`${status}?on-complete=303&token=${token}`);
  assert.equal(answer.status, 303);
  const there = await get(answer.headers['location']!);
  assert.equal(there.text, 'there');
  assert.equal(there.headers['referrer-policy'], 'no-referrer', 'stronger than what the backend wished');
  const seen = backend.requests.map(({ target, rawHeaders }) => `${target} ${rawHeaders.join()}`).join();
  assert.ok(seen.startsWith('/a?b=c ') && !seen.includes(token), 'the backend has heard of no token');
});

test('the token of a client is the credential of another one, in a page of another origin as well', async (t) => {
  const done = gate();
  const backend = await backendFor(t, async () => {
    await done.opened;
    return { body: '{"score":712}' };
  });
  const origin = 'https://app.example.com';
  const server = await serverFor(t, {
    services: { score: { target: { url: backend.url } } },
    namespaces: ['alice'],
    fields: { corsOrigin: [origin] },
  });
  const keyed = createClient({ url: server.url, apiKey: server.key('alice') });
  const submitted = await keyed.submit('score', { body: { customerId: '42' }, respondAsync: true });
  assert.ok(submitted.kind === 'accepted');
  const id = submitted.operation!.id;
  const { token } = await keyed.token({ operations: [id], expiresIn: '10m' });

  const page = createClient({ url: server.url, token });
  const answered = page.wait(id);
  await backend.received(1);
  done.open();
  assert.deepEqual((await answered).json(), { score: 712 });
  assert.equal((await page.get(id)).operation.status, 'succeeded');
  assert.ok((await page.timeline(id)).length > 0);
  await assert.rejects(page.cancel(id), (error) => error instanceof WaitlessError && error.status === 403);

  const url = `${server.url}/v1/operations/${id}?token=${token}`;
  const asked = { 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'prefer' };
  const preflight = await send(url, { method: 'OPTIONS', headers: { Origin: origin, ...asked } });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers['access-control-allow-origin'], origin);
  const answer = await get(url, { headers: { Origin: origin } });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['access-control-allow-origin'], origin);
  const elsewhere = await get(url, { headers: { Origin: 'https://evil.example' } });
  assert.equal(elsewhere.headers['access-control-allow-origin'], undefined, 'another page cannot read it');
});

test('what a token names may be gone: then it is what it is to everybody', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const { status, result, id } = await submit(server.url, 'jobs', { body: 'x' });
  const { token } = await tokenFor(server.url, { operations: [id] });
  const lease = await takeOne(server.url, 'jobs');
  const failed = await answerLease(server.url, lease.token, 'fail', {
    body: { code: 'no-paint', message: 'we ran out', retry: false },
  });
  assert.equal(failed.status, 200, failed.text);
  assertProblem(await get(`${result}?token=${token}`), 502, 'failed-by-worker');
  assert.equal((await send(`${status}?purge=true`, { method: 'DELETE' })).status, 204);
  assertProblem(await get(`${status}?token=${token}`), 404, 'not-found');
  assertProblem(await post(`${server.url}/v1/tokens`, { body: { operations: [id] } }), 404, 'not-found');
});
