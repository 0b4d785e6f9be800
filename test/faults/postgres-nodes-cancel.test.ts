// An operation that ends by one node while another carries it: the attempt is ended there too, with and without hints.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Operation } from '@waitless/protocol';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { type Backend, backendFor, type BackendRequest, never } from '../support/backend.ts';
import { get, send } from '../support/http.ts';
import { assertProblem, resultOf, statusWhen, submit } from '../support/operations.ts';
import { answerLease, reply, takeOne } from '../support/pull-worker.ts';
import {
  assertCountsAreRight,
  type PairSettings,
  type ServerPair,
  twoServers,
  withPostgres,
} from './postgres-nodes.ts';

interface Carried {
  pair: ServerPair;
  backend: Backend;
  /** Carries the operation, and the other one. */
  carrier: string;
  other: string;
  id: string;
  request: BackendRequest;
}

/** An operation that the second node carries, at a backend that never answers. */
async function carriedBySecond(
  t: TestContext,
  settings: Partial<PairSettings> & { headers?: Record<string, string> } = {},
): Promise<Carried> {
  const { headers = {}, ...more } = settings;
  const backend = await backendFor(t, never);
  const pair = await twoServers(t, { services: { score: { target: { url: backend.url }, concurrency: 1 } }, ...more });
  const [other, carrier] = pair.urls;
  // The first node's only place is taken by an operation of its own, so the next one is the second node's.
  await submit(other, 'score', { body: 'in the way' });
  await backend.received(1);
  const { id } = await submit(carrier, 'score', { body: 'carried', headers });
  const request = (await backend.received(2)).find(({ headers: fields }) => fields['operation-id'] === id)!;
  assert.ok(request.headers['operation-reply-url']!.startsWith(carrier), 'the second node carries it');
  return { pair, backend, carrier, other, id, request };
}

/** Its place is free again: the next operation is carried, and by the same node. */
async function placeIsFree({ backend, carrier }: Carried): Promise<void> {
  backend.behave(() => ({ body: 'next' }));
  const { result } = await submit(carrier, 'score', { body: 'next' });
  assert.equal((await resultOf(result)).text, 'next');
  const { headers } = backend.requests.find(({ body }) => body.toString() === 'next')!;
  assert.ok(headers['operation-reply-url']!.startsWith(carrier));
}

for (const hints of [true, false]) {
  test(
    `a cancel on one node ends the attempt in flight on the other, ${hints ? 'by a hint' : 'also when every hint is lost'}`,
    withPostgres,
    async (t) => {
      const carried = await carriedBySecond(t, { hints });
      const { pair, other, id, request } = carried;
      const cancelled = await send(`${other}/v1/operations/${id}`, { method: 'DELETE' });
      assert.deepEqual([cancelled.status, cancelled.json()['status']], [200, 'cancelled']);
      const from = performance.now();
      await request.abandoned;
      t.diagnostic(
        `the backend saw the end of its connection ${Math.round(performance.now() - from)} ms after the cancel`,
      );
      await placeIsFree(carried);
      for (const url of pair.urls) assertProblem(await get(`${url}/v1/operations/${id}/result`), 409, 'cancelled');
      assert.deepEqual(
        carried.backend.requests.map(({ body }) => body.toString()).sort(),
        ['carried', 'in the way', 'next'],
        'it is not tried again',
      );
      await assertCountsAreRight(pair.urls);
    },
  );
}

test(
  "an operation whose time ends by one node's sweep is given up by the other node that carries it",
  withPostgres,
  async (t) => {
    const applied: string[] = [];
    /** The carrier's own sweep sees nothing. */
    const sightless = (engine: Engine, index: number): Engine => ({
      ...engine,
      sweep: async (...call) => {
        const outcome = await engine.sweep(...call);
        return index === 1 ? { ...outcome, due: [], more: false } : outcome;
      },
      applyClock: (...call) => {
        applied.push(`node ${index}`);
        return engine.applyClock(...call);
      },
    });
    const carried = await carriedBySecond(t, { wrapEngine: sightless, headers: { 'Operation-Timeout': '2s' } });
    const { pair, carrier, id, request } = carried;
    const told = statusWhen(`${carrier}/v1/operations/${id}`, ({ done }: Operation) => done);
    await request.abandoned;
    const { status, error } = await told;
    assert.deepEqual([status, error!.code], ['failed', 'timed-out']);
    assert.deepEqual(new Set(applied), new Set(['node 0']));
    await placeIsFree(carried);
    for (const url of pair.urls) assertProblem(await get(`${url}/v1/operations/${id}/result`), 504, 'timed-out');
  },
);

test(
  'a worker learns of a cancel at the other node at any node he turns to, and his answer is refused at both',
  withPostgres,
  async (t) => {
    const { urls } = await twoServers(t, { services: { jobs: { target: { pull: true } } } });
    const { id } = await submit(urls[0], 'jobs');
    const { token } = await takeOne(urls[1], 'jobs');
    const waiting = urls.map((url) => resultOf(`${url}/v1/operations/${id}/result`));
    await send(`${urls[0]}/v1/operations/${id}`, { method: 'DELETE' });
    for (const url of urls) {
      assertProblem(await answerLease(url, token, 'extend', { body: { leaseSeconds: 5 } }), 409, 'cancelled');
      assertProblem(await reply(url, token, 'too late'), 409, 'cancelled');
    }
    for (const answer of await Promise.all(waiting)) assertProblem(answer, 409, 'cancelled');
    await assertCountsAreRight(urls);
  },
);

test(
  '100 races of a cancel at one node against a reply at the other have one winner each, the same at both',
  withPostgres,
  async (t) => {
    const { urls } = await twoServers(t, { services: { jobs: { target: { pull: true } } } });
    let cancels = 0;
    const race = async (at: number): Promise<void> => {
      const [one, another] = at % 2 === 0 ? urls : [urls[1], urls[0]];
      await submit(one, 'jobs');
      const { token, operation } = await takeOne(another, 'jobs', { worker: 'w' });
      const [cancelled, replied] = await Promise.all([
        send(`${one}/v1/operations/${operation.id}`, { method: 'DELETE' }),
        reply(another, token, 'done'),
      ]);
      const won = cancelled.json()['status'] === 'cancelled';
      if (won) cancels++;
      assert.equal(replied.status, won ? 409 : 200, replied.text);
      for (const url of urls) {
        const { status } = await get(`${url}/v1/operations/${operation.id}/result`);
        assert.equal(status, won ? 409 : 200);
      }
    };
    for (let at = 0; at < 100; at += 10) await Promise.all(Array.from({ length: 10 }, (_, i) => race(at + i)));
    t.diagnostic(`${cancels} of 100 were won by the cancel`);
    await assertCountsAreRight(urls);
  },
);
