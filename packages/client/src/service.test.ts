// Contracts: types follow from the schemas, and what breaks them never leaves or never arrives unnoticed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as v from 'valibot';
import { ContractBroken, createClient, type StandardSchema } from './index.ts';
import { json, receipt, serve } from './support.test.ts';

const done = { 'Operation-Id': 'op1', 'Operation-Status': 'succeeded' };
const input = v.object({ customerId: v.pipe(v.string(), v.minLength(1)), depth: v.optional(v.number(), 3) });
const output = v.object({
  score: v.number(),
  at: v.pipe(
    v.string(),
    v.transform((text) => new Date(text)),
  ),
});

/** Compiles only if both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

test('with a real library: the value is checked, completed, sent as JSON, and the result is typed', async (t) => {
  const { url, seen } = await serve(t, (_, response) =>
    json(response, 200, { score: 720, at: '2026-01-01T00:00:00Z', more: true }, done),
  );
  const score = createClient({ url }).service('score', { input, output });
  const answer = await score.request({ customerId: '42' }, { labels: { tier: 'gold' } });
  const typed: Same<typeof answer.value, { score: number; at: Date }> = true;
  assert.ok(typed);
  assert.deepEqual(answer.value, { score: 720, at: new Date('2026-01-01T00:00:00Z') });
  assert.equal(answer.status, 200);
  assert.equal(seen[0]?.body.toString(), '{"customerId":"42","depth":3}');
  assert.equal(seen[0].headers['content-type'], 'application/json');
  assert.equal(seen[0].headers['operation-labels'], 'tier=gold');
  assert.deepEqual((await score.wait('op1')).value, answer.value);

  // @ts-expect-error -- the input has no such type
  await assert.rejects(score.request({ customerId: 42 }), ContractBroken);
});

test('an input that breaks the contract is not sent, and the error says what is wrong and where', async (t) => {
  const { url, seen } = await serve(t, (_, response) => response.end());
  const score = createClient({ url }).service('score', { input });
  for (const send of [score.request, score.submit]) {
    const error = await send({ customerId: '' }).then(
      () => assert.fail('it was sent'),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof ContractBroken);
    assert.deepEqual([error.code, error.retry, error.issues.length], ['input-mismatch', false, 1]);
    assert.match(error.message, /customerId: /);
  }
  assert.equal(seen.length, 0);
});

test('a result that breaks the contract is told once, with the result, and not asked for again', async (t) => {
  const answers = ['{"score":"high"}', 'not json', ''];
  const { url, seen } = await serve(t, (_, response) => response.writeHead(200, done).end(answers.shift()));
  const score = createClient({ url }).service('score', { output });
  for (const text of ['{"score":"high"}', 'not json', '']) {
    const error = await score.request({}).catch((reason: unknown) => reason);
    assert.ok(error instanceof ContractBroken);
    assert.deepEqual([error.code, error.retry], ['output-mismatch', false]);
    assert.equal(error.result?.text(), text);
    assert.ok(error.issues.length > 0);
  }
  assert.equal(seen.length, 3);
});

test('a schema of our own making that answers later, and a contract with one side only', async (t) => {
  const even: StandardSchema<number, string> = {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) =>
        Promise.resolve(
          typeof value === 'number' && value % 2 === 0
            ? { value: `even ${value}` }
            : { issues: [{ message: 'is odd', path: [{ key: 'n' }, 0] }] },
        ),
    },
  };
  const { url, seen } = await serve(t, ({ method }, response) =>
    method === 'POST' ? json(response, 202, receipt, { 'Operation-Id': 'op1' }) : response.writeHead(200, done).end(),
  );
  const numbers = createClient({ url }).service('numbers', { input: even });
  const outcome = await numbers.submit(4, { respondAsync: true });
  assert.equal(outcome.kind, 'accepted');
  assert.equal(seen[0]?.body.toString(), '"even 4"');
  await assert.rejects(numbers.request(3), { code: 'input-mismatch', message: /\/n\/0: is odd/ });
  const { value } = await numbers.wait('op1');
  const typed: Same<typeof value, unknown> = true;
  assert.ok(typed);
  assert.equal(value, undefined, 'an empty body');
});
