// What a token in the query opens, where it is asked for at all, and what is told to whom.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Route, routes, WaitlessError } from '@waitless/protocol';
import { Ids } from '../../core/ids.ts';
import { manualClock } from '../../lib/clock.ts';
import { ReadTokens, tokensIn, withoutReferrer } from './read-tokens.ts';
import { WrongGuess } from './wrong-guess.ts';

const ids = new Ids({ shard: 0, storeKey: 'a'.repeat(64) });
const key = { seq: 7, nonce: '0123456789abcdef0123456789abcdef' };
const other = { seq: 8, nonce: key.nonce };

function set() {
  const clock = manualClock();
  const tokens = new ReadTokens({ ids, clock });
  const token = ids.readToken({
    namespace: 'alice',
    operations: [key],
    topics: ['orders.*', 'bills'],
    expiresAt: clock.now() + 1000,
  });
  const visit = (query: string, { route = routes.getOperation, authorization }: Partial<Asked> = {}) =>
    tokens.visit({ query, route, authorization });
  const refusal = (query: string, more: Partial<Asked> = {}): unknown => {
    try {
      return visit(query, more);
    } catch (error) {
      return error instanceof WaitlessError ? error.code : error;
    }
  };
  return { clock, token, visit, refusal };
}

interface Asked {
  route: Route;
  authorization: string | undefined;
}

test('a token opens its operations for its time, and nothing of them after', () => {
  const { clock, token, visit, refusal } = set();
  const found = visit(`envelope=json&token=${token}`)!;
  assert.deepEqual([found.namespace, found.leftMs], ['alice', 1000]);
  assert.equal(found.opens(ids.operationId(key)), true);
  for (const id of [ids.operationId(other), '', undefined, ids.operationId(key).toUpperCase()])
    assert.equal(found.opens(id), false);
  for (const topic of ['orders.*', 'orders.placed', 'bills']) assert.equal(found.opensTopic(topic), true, topic);
  for (const topic of ['orders', 'orders.a.b', 'orders.**', 'orders.#', '*.placed', '**', 'bills.*', 'Bills', ''])
    assert.equal(found.opensTopic(topic), false, topic);
  clock.advance(999);
  assert.equal(visit(`token=${token}`)!.leftMs, 1);
  assert.equal(visit(`token=${token}`)!.leftMs, 1, 'as often as one likes');
  clock.advance(1);
  assert.equal(refusal(`token=${token}`), 'invalid-token');
});

test("it is asked for on every route whose credential is a key, but a submit, whose query is the backend's", () => {
  const { token, refusal } = set();
  for (const route of Object.values<Route>(routes)) {
    const expected =
      route.access !== 'key' || route.path.startsWith('/v1/call/')
        ? undefined
        : route.readableByToken
          ? 'opened'
          : 'insufficient-scope';
    const found = refusal(`token=${token}`, { route });
    assert.equal(typeof found === 'object' ? 'opened' : found, expected, `${route.method} ${route.path}`);
  }
  const readable = Object.values<Route>(routes).filter((route) => route.readableByToken);
  assert.ok(readable.length >= 3);
  for (const { method, path } of readable)
    assert.ok(
      method === 'GET' &&
        (path.startsWith('/v1/operations/{id}') || path === '/v1/stream' || path === '/v1/topics/{topic}/events'),
      `${method} ${path} names the operations and topics that it shows`,
    );
});

test('what is wrong with it: two of them, a key beside it, none of ours', () => {
  const { token, refusal } = set();
  assert.equal(refusal(''), undefined);
  assert.equal(refusal('envelope=json&tokens=a&Token=b'), undefined);
  assert.equal(refusal(`token=${token}&token=${token}`), 'invalid-parameter');
  assert.equal(refusal(`token=${token}&t%6fken=${token}`), 'invalid-parameter');
  assert.equal(refusal(`token=${token}`, { authorization: 'Bearer x' }), 'invalid-parameter');
  assert.equal(refusal('token=', { authorization: 'Bearer x' }), 'invalid-parameter');
  for (const wrong of ['token=', 'token', 'token=%', 'token=%ff', 'token=abc', `token=${token}A`, 'token=%00'])
    for (const route of [routes.getOperation, routes.listOperations])
      assert.equal(refusal(wrong, { route }), 'invalid-token', wrong);
});

test('a token that is none counts as a guess, one that has expired does not', () => {
  const { clock, token, visit } = set();
  assert.throws(
    () => visit('token=abc'),
    (error) => error instanceof WrongGuess && error.guess === 'abc',
  );
  clock.advance(1000);
  assert.throws(
    () => visit(`token=${token}`),
    (error) => error instanceof WaitlessError && !(error instanceof WrongGuess) && !error.message.includes(token),
  );
});

test('nobody looks for a token where none is a credential', () => {
  for (const route of [routes.call, routes.replyLease, routes.livez, routes.home])
    assert.deepEqual(tokensIn('token=a&token=b', route), []);
  assert.deepEqual(tokensIn('token=a&token=b', routes.getResult), ['a', 'b']);
});

test('the answer keeps its address to itself, whatever the backend wished', () => {
  assert.deepEqual(withoutReferrer(['A', '1', 'referrer-policy', 'unsafe-url', 'B', 'Referrer-Policy']), [
    'A',
    '1',
    'B',
    'Referrer-Policy',
    'Referrer-Policy',
    'no-referrer',
  ]);
});
