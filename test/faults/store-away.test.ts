// A store that is away for a while, whichever it is: what was accepted stays accepted, who waits goes on waiting, and answers of backends are kept.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import type { Page, TimelineEntry } from '@waitless/protocol';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { backendFor, gate } from '../support/backend.ts';
import { noise } from '../support/fixtures.ts';
import { get, post, until } from '../support/http.ts';
import { assertProblem, ended, submit, waitersReach } from '../support/operations.ts';
import { type ServerSettings, serverFor, type TestServer } from '../support/server.ts';

type Call = 'operation' | 'recordsOf' | 'result' | 'settle' | 'counts' | 'health' | 'submit' | 'readBody';

interface Away {
  readonly server: TestServer;
  /** These calls are refused from now on, as by a database that cannot be reached; of the others `passing` are let through first. */
  readonly refuse: (...calls: (Call | { call: Call; passing: number })[]) => void;
  /** Resolves when that many calls of this kind have been refused since `refuse`. */
  readonly refused: (call: Call, count?: number) => Promise<void>;
}

const away = (): WaitlessError =>
  new WaitlessError('engine-unavailable', undefined, { retryAfterSeconds: 2, members: { accepted: false } });

async function serverWithStoreAway(t: TestContext, settings: ServerSettings): Promise<Away> {
  let refusing = new Map<Call, number>();
  const meet = (call: Call): void => {
    const count = refusing.get(call);
    if (count === undefined) return;
    refusing.set(call, count + 1);
    if (count >= 0) throw away();
  };
  /** Rejects, as the engine would, or lets the call through. */
  function guard<C extends Exclude<Call, 'readBody'>>(call: C, run: Engine[C]): Engine[C] {
    const guarded = async (...values: unknown[]): Promise<unknown> => {
      meet(call);
      return (run as (...values: unknown[]) => Promise<unknown>)(...values);
    };
    return guarded as Engine[C];
  }
  const server = await serverFor(t, {
    ...settings,
    wrapEngine: (engine): Engine => ({
      ...engine,
      operation: guard('operation', (key) => engine.operation(key)),
      recordsOf: guard('recordsOf', (seqs) => engine.recordsOf(seqs)),
      result: guard('result', (seq) => engine.result(seq)),
      settle: guard('settle', (batch, now) => engine.settle(batch, now)),
      counts: guard('counts', () => engine.counts()),
      health: guard('health', () => engine.health()),
      submit: guard('submit', (batch, now) => engine.submit(batch, now)),
      async *readBody(seq, of) {
        let first = true;
        for await (const chunk of engine.readBody(seq, of)) {
          if (!first) meet('readBody');
          first = false;
          yield chunk;
        }
      },
    }),
  });
  return {
    server,
    refuse(...calls) {
      refusing = new Map(calls.map((one) => (typeof one === 'string' ? [one, 0] : [one.call, -one.passing])));
    },
    refused: (call, count = 1) => until(() => (refusing.get(call)! >= count ? true : undefined)).then(() => undefined),
  };
}

const attemptsOf = async (status: string): Promise<TimelineEntry[]> =>
  (await get(`${status}/timeline`)).json<Page<TimelineEntry>>().items.filter(({ type }) => type === 'attempt');

test('an answer of a backend is kept until the store is back, and recorded once', async (t) => {
  const backend = await backendFor(t, () => ({ body: 'done' }));
  const { server, refuse, refused } = await serverWithStoreAway(t, {
    services: { score: { target: { url: backend.url } } },
  });
  refuse('settle');
  const accepted = await submit(server.url, 'score', { body: 'x' });
  await refused('settle', 3);
  assert.equal((await get(accepted.status)).json()['status'], 'running');
  refuse();
  assert.equal((await ended(accepted.status)).status, 'succeeded');
  assert.equal((await get(accepted.result)).text, 'done');
  assert.equal(backend.requests.length, 1);
  assert.equal((await attemptsOf(accepted.status)).length, 1);
});

test('a server that is stopped with such an answer does not wait for the store, and the work is done after the start', async (t) => {
  const backend = await backendFor(t, ({ body }) => ({ body }));
  const { server, refuse, refused } = await serverWithStoreAway(t, {
    data: 'folder',
    services: { score: { target: { url: backend.url } } },
  });
  refuse('settle');
  const accepted = await submit(server.url, 'score', { body: 'x' });
  await refused('settle');
  await server.stop();
  refuse();
  await server.restart();
  assert.equal((await ended(accepted.status)).status, 'succeeded');
  assert.equal((await get(accepted.result)).text, 'x');
});

test('a request whose body the store stopped giving costs no attempt', async (t) => {
  const body = noise(500_000);
  const backend = await backendFor(t, (request) => ({ body: request.body }));
  const { server, refuse, refused } = await serverWithStoreAway(t, {
    services: { score: { target: { url: backend.url }, retry: { maxAttempts: 1 } } },
  });
  refuse('readBody');
  const accepted = await submit(server.url, 'score', { body });
  await refused('readBody');
  refuse();
  assert.equal((await ended(accepted.status)).status, 'succeeded', 'its only attempt is the one that was made whole');
  assert.deepEqual((await get(accepted.result)).body, body);
  const attempts = await attemptsOf(accepted.status);
  assert.equal(attempts.at(-1)!.attempt, 1);
});

test('a submit that was stored is never told that it was not, whatever can be read of it', async (t) => {
  const opened = gate();
  const backend = await backendFor(t, () => opened.opened.then(() => ({ body: 'done' })));
  // Nobody is woken by the settlement itself: the waiter finds it by its own look, and then reads.
  const { server, refuse, refused } = await serverWithStoreAway(t, {
    services: { score: { target: { url: backend.url } } },
    extras: { hints: false, pollMs: 10 },
  });
  refuse('operation');
  const answering = post(`${server.url}/v1/call/score`, { body: 'x', headers: { Prefer: 'wait=60' } });
  await backend.received(1);
  opened.open();
  const answer = await answering;
  assert.equal(answer.status, 202, answer.text);
  await refused('operation');
  refuse();
  assert.equal((await get(answer.headers['location']!)).text, 'done');
});

test('a wait that has begun outlasts a store that is away, and nobody is left waiting', async (t) => {
  const { server, refuse, refused } = await serverWithStoreAway(t, { services: { jobs: { target: { pull: true } } } });
  const accepted = await submit(server.url, 'jobs', { body: 'x' });
  // It looks twice: before it waits, and once it does.
  refuse({ call: 'operation', passing: 1 }, 'recordsOf', 'settle');
  const waiting = get(accepted.result, { headers: { Prefer: 'wait=60' } });
  await refused('operation');
  await waitersReach(server.url, (waiters) => waiters === 1);
  const { leases } = (await post(`${server.url}/v1/services/jobs/leases`, { body: {} })).json<{
    leases: { token: string }[];
  }>();
  const reply = () => post(`${server.url}/v1/leases/${leases[0]!.token}/reply`, { body: 'done' });
  assertProblem(await reply(), 503, 'engine-unavailable');
  await refused('settle');
  refuse();
  assert.equal((await reply()).status, 200);
  assert.equal((await waiting).text, 'done');
  await waitersReach(server.url, (waiters) => waiters === 0);
});

test('while the store is away the server lives, is not ready, and tells its own figures', async (t) => {
  const { server, refuse } = await serverWithStoreAway(t, { services: { jobs: { target: { pull: true } } } });
  refuse('health', 'counts', 'operation', 'submit');
  const ready = await get(`${server.url}/readyz`);
  assertProblem(ready, 503, 'engine-unavailable');
  assert.match(String(ready.json()['title']), /database/);
  assert.equal(ready.headers['retry-after'], '2');
  assert.equal((await get(`${server.url}/livez`)).status, 200);
  const refusal = await post(`${server.url}/v1/call/jobs`, { body: 'x' });
  assertProblem(refusal, 503, 'engine-unavailable');
  assert.equal(refusal.json()['accepted'], false);
  const metrics = await get(`${server.url}/metrics`);
  assert.equal(metrics.status, 200);
  assert.match(metrics.text, /^waitless_engine_failures_total\{call="submit"\} 1$/m);
  assert.doesNotMatch(
    metrics.text,
    /^waitless_operations\{/m,
    'no figure of the store stands there as if it were known',
  );
  refuse();
  assert.equal((await get(`${server.url}/readyz`)).status, 200);
});
