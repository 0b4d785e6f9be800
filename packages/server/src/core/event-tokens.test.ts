// Tokens of events: of the namespace that brings them or unknown, and one look at the store for all whose subscription is not known here.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventTokens, type EventTokensDependencies } from './event-tokens.ts';
import { Ids } from './ids.ts';

const ids = new Ids({ shard: 1, storeKey: 'ab'.repeat(32) });
const lease = (subscription: number, attempt = 1) => ({ subscription, position: 7, leaseNo: 3, attempt });

function tokensOn(namespaces: Readonly<Record<number, string>>) {
  const known = new Map<number, unknown>();
  let reads = 0;
  const learn = (number: number): void => {
    const namespace = namespaces[number];
    if (namespace !== undefined) known.set(number, { namespace, retry: { maxAttempts: 2 } });
  };
  learn(1);
  const subscriptions = {
    byNumber: (number: number) => known.get(number),
    read: () => {
      reads++;
      for (const number of Object.keys(namespaces)) learn(Number(number));
      return Promise.resolve();
    },
  } as unknown as EventTokensDependencies['subscriptions'];
  return { tokens: new EventTokens({ ids, subscriptions }), reads: () => reads };
}

test('a token is of its own namespace alone, and of none where it comes by itself', async () => {
  const { tokens, reads } = tokensOn({ 1: 'mine' });
  const token = tokens.tokenOf(lease(1));
  assert.deepEqual(
    await tokens.leasesOf([
      { token, namespace: 'mine' },
      { token, namespace: 'theirs' },
      { token, namespace: undefined },
      { token: `${token}x`, namespace: 'mine' },
      { token: ids.leaseToken({ queue: 1, seq: 1, leaseNo: 1, attempt: 1 }), namespace: 'mine' },
    ]),
    [lease(1), undefined, lease(1), undefined, undefined],
  );
  assert.equal(reads(), 0);
});

test('however many name a subscription that is not known here, the store is asked once', async () => {
  const { tokens, reads } = tokensOn({ 1: 'mine', 2: 'mine' });
  const given = [2, 2, 9, 9, 1].map((number) => ({ token: tokens.tokenOf(lease(number)), namespace: 'mine' }));
  assert.deepEqual(await tokens.leasesOf(given), [lease(2), lease(2), undefined, undefined, lease(1)]);
  assert.equal(reads(), 1);
});

test('the last try is the one that the subscription says; of one that is gone none is', () => {
  const { tokens } = tokensOn({ 1: 'mine' });
  assert.deepEqual(
    [lease(1, 1), lease(1, 2), lease(9, 99)].map((one) => tokens.isLastAttempt(one)),
    [false, true, false],
  );
});

test('what is no token of an event is told what it is', () => {
  const { tokens } = tokensOn({});
  const operation = ids.leaseToken({ queue: 1, seq: 1, leaseNo: 1, attempt: 1 });
  assert.match(tokens.noLease(operation).message, /token of an operation/);
  assert.match(tokens.noLease('x').message, /no lease has this token/);
});
