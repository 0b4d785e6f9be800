// Callback secrets under wrong requests: none of them may rotate anything, show a value, or tell what another namespace has.
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { test } from 'node:test';
import { assertProblem, underAttack, type Victim } from '../support/victim.ts';
import type { RequestParts } from '../support/raw-http.ts';

const list = '/v1/callback-secrets';
const rotate = `${list}/rotate`;
const json: [string, string] = ['Content-Type', 'application/json'];
const namespaces = ['alice', 'bob'];

const idsOf = async (victim: Victim, namespace: string): Promise<string[]> => {
  const answer = await victim.askAs(namespace, { path: list });
  assert.equal(answer.status, 200, answer.text);
  return answer.json<{ items: { id: string }[] }>().items.map(({ id }) => id);
};

const rows: readonly (readonly [
  row: string,
  what: string,
  parts: Partial<RequestParts>,
  status: number,
  code: string,
])[] = [
  ['T28', 'a field that is not known', { body: '{"overlap":1}' }, 400, 'unknown-field'],
  ['T28', 'a secret of the caller', { body: '{"secret":"whsec_b3NzaWZyYWdl"}' }, 400, 'unknown-field'],
  ['T28', 'the namespace of another', { body: '{"namespace":"bob"}' }, 400, 'unknown-field'],
  ['T28', 'an id', { body: '{"id":"cs_1"}' }, 400, 'unknown-field'],
  ...['-1', '-0.001', '168.1', '1e999', '"24"', '"24h"', 'null', 'true', '[24]', '{}'].map(
    (value) =>
      ['value', `overlapHours ${value}`, { body: `{"overlapHours":${value}}` }, 400, 'invalid-parameter'] as const,
  ),
  ['T23', 'no JSON', { body: '{' }, 400, 'invalid-json'],
  ['T23', 'a field twice', { body: '{"overlapHours":1,"overlapHours":2}' }, 400, 'invalid-json'],
  ['T23', 'an array', { body: '[]' }, 400, 'invalid-parameter'],
  ['T23', 'null', { body: 'null' }, 400, 'invalid-parameter'],
  ['T24', '65 levels', { body: `${'['.repeat(65)}${']'.repeat(65)}` }, 400, 'payload-too-complex'],
  ['T26', '__proto__', { body: '{"__proto__":{"overlapHours":1}}' }, 400, 'forbidden-key'],
  [
    'form',
    'another media type',
    { body: 'overlapHours=1', headers: [['Content-Type', 'text/plain']] },
    415,
    'unsupported-media-type',
  ],
  ['form', 'no media type', { body: '{}', headers: [] }, 415, 'unsupported-media-type'],
  [
    'T18',
    'a packed body',
    { body: gzipSync('{}'), headers: [json, ['Content-Encoding', 'gzip']] },
    415,
    'unsupported-content-encoding',
  ],
  ['size', 'more than 256 KB', { body: `{}${' '.repeat(256 * 1024)}` }, 413, 'payload-too-large'],
];

test('a wrong rotation is refused, names what is wrong, and rotates nothing', async (t) => {
  await underAttack(t, { namespaces }, async (victim) => {
    for (const namespace of namespaces)
      assert.equal((await victim.askAs(namespace, { method: 'POST', path: rotate })).status, 200);
    const before = await Promise.all(namespaces.map((namespace) => idsOf(victim, namespace)));
    for (const [row, what, parts, status, code] of rows) {
      await t.test(`${row}: ${what}`, () =>
        victim.untouchedBy(async () => {
          const answer = await victim.askAs('alice', { method: 'POST', path: rotate, headers: [json], ...parts });
          assertProblem(answer, status, code);
          assert.doesNotMatch(answer.text, /whsec_/);
        }),
      );
    }
    for (const [what, parts, status, code] of [
      ['GET of the rotation', { path: rotate }, 405, 'method-not-allowed'],
      ['DELETE of the list', { method: 'DELETE', path: list }, 405, 'method-not-allowed'],
      ['POST to the list', { method: 'POST', path: list }, 405, 'method-not-allowed'],
      ['a secret by its id', { path: `${list}/${before[0]![0]!}` }, 404, 'not-found'],
      ['an encoded way round', { method: 'POST', path: `${list}/%72otate` }, 404, 'not-found'],
    ] as const) {
      await t.test(what, () =>
        victim.untouchedBy(async () => assertProblem(await victim.askAs('alice', parts), status, code)),
      );
    }
    await t.test('without a key, with a wrong one, and with the header of another namespace', () =>
      victim.untouchedBy(async () => {
        for (const headers of [[], [['Authorization', 'Bearer ossifrage']], [['X-Namespace', 'alice']]] as [
          string,
          string,
        ][][])
          for (const parts of [{ path: list }, { method: 'POST', path: rotate }])
            assertProblem(await victim.ask({ ...parts, headers }), 401, 'unauthenticated');
        assert.deepEqual(
          await victim
            .askAs('bob', { path: `${list}?namespace=alice` })
            .then((answer) => answer.json<{ items: { id: string }[] }>().items.map(({ id }) => id)),
          before[1],
        );
      }),
    );
    assert.deepEqual(await Promise.all(namespaces.map((namespace) => idsOf(victim, namespace))), before);
    const head = await victim.askAs('alice', { method: 'HEAD', path: list });
    assert.deepEqual([head.status, head.text], [200, '']);
  });
});
