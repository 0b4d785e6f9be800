// Batches that are no batches: refused as a whole or in their place, nothing left behind, and what was told stays true through a kill.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { OperationReceipt } from '@waitless/protocol';
import { post } from '../support/http.ts';
import { statusOf } from '../support/operations.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { assertProblem, underAttack, type Victim } from '../support/victim.ts';

const jobs = { jobs: { target: { pull: true } } };
const item = '{"service":"jobs"}';
const deep = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;

const ask = (victim: Victim, body: string | Uint8Array, type = 'application/json', headers: [string, string][] = []) =>
  victim.ask({ method: 'POST', path: '/v1/batch', headers: [['Content-Type', type], ...headers], body });

test('T23-T28: a broken envelope is one problem, and none of its good items is stored', (t) =>
  underAttack(t, { services: jobs }, async (victim) => {
    const rows: readonly (readonly [
      row: string,
      what: string,
      body: string | Uint8Array,
      status: number,
      code: string,
    ])[] = [
      ['T23', 'nothing', '', 400, 'invalid-json'],
      ['T23', 'an array that does not end', `[${item}`, 400, 'invalid-json'],
      ['T23', 'trailing garbage', `[${item}] x`, 400, 'invalid-json'],
      ['T23', 'a comma at the end', `[${item},]`, 400, 'invalid-json'],
      ['T23', 'a broken body in the last item', `[${item},{"service":"jobs","body":{"a":}}]`, 400, 'invalid-json'],
      ['T23', 'a byte order mark', `\ufeff[${item}]`, 400, 'invalid-json'],
      ['T23', 'UTF-16', Buffer.from(`[${item}]`, 'utf16le'), 400, 'invalid-json'],
      ['T23', 'invalid UTF-8', Buffer.from([...Buffer.from(`[${item},"`), 0xff, 0x22, 0x5d]), 400, 'invalid-json'],
      [
        'T23',
        'a lone surrogate in a body of text',
        `[${item},{"service":"jobs","body":"\\ud800"}]`,
        400,
        'invalid-json',
      ],
      ['T23', 'an object', item, 400, 'invalid-parameter'],
      ['T23', 'null', 'null', 400, 'invalid-parameter'],
      ['T24', '200,000 levels', deep(200_000), 400, 'payload-too-complex'],
      ['T24', '65 levels', deep(65), 400, 'payload-too-complex'],
      [
        'T24',
        'levels in a header',
        `[${item},{"service":"jobs","headers":{"a":${deep(200_000)}}}]`,
        400,
        'payload-too-complex',
      ],
      ['T24', 'brackets that never close', '['.repeat(100_000), 400, 'payload-too-complex'],
      ['T25', '1,001 items', `[${Array(1001).fill(item).join(',')}]`, 413, 'payload-too-large'],
      ['T25', 'ten million zeros', `[${'0,'.repeat(5_000_000)}0]`, 413, 'payload-too-large'],
      [
        'T25',
        '16 MB and one byte',
        `[${item}]${' '.repeat(16 * 1024 * 1024 - item.length - 1)}`,
        413,
        'payload-too-large',
      ],
      ['T26', '__proto__', `[${item},{"__proto__":{"x":1}}]`, 400, 'forbidden-key'],
      ['T26', '__proto__ in escapes', `[${item},{"\\u005f_proto\\u005f_":{"x":1}}]`, 400, 'forbidden-key'],
      ['T26', 'constructor', `[${item},{"constructor":{"prototype":{"x":1}}}]`, 400, 'forbidden-key'],
      [
        'T26',
        '__proto__ among headers',
        `[${item},{"service":"jobs","headers":{"__proto__":"x"}}]`,
        400,
        'forbidden-key',
      ],
      ['T27', 'a key that stands twice', `[${item},{"service":"jobs","service":"jobs"}]`, 400, 'invalid-json'],
      ['T27', 'a body that stands twice', `[${item},{"service":"jobs","body":1,"body":2}]`, 400, 'invalid-json'],
      [
        'T27',
        'a header that stands twice',
        `[${item},{"service":"jobs","headers":{"a":"1","a":"2"}}]`,
        400,
        'invalid-json',
      ],
      ...[
        'tenantId',
        'namespace',
        'state',
        'status',
        'attempt',
        'leaseToken',
        'createdAt',
        'id',
        'toString',
        'Service',
      ].map((name) => ['T28', name, `[${item},{"service":"jobs","${name}":"x"}]`, 400, 'unknown-field'] as const),
    ];
    for (const [row, what, body, status, code] of rows) {
      await t.test(`${row}: ${what} gets ${status} ${code}`, () =>
        victim.untouchedBy(async () => {
          const answer = await ask(victim, body);
          assertProblem(answer, status, code);
          if (status === 413) assert.match(answer.text, /\b(1000|16777216)\b/, 'the limit is named');
        }),
      );
    }
    await t.test('T25: 1,001 lines get 413, and the limit is named', () =>
      victim.untouchedBy(async () => {
        const answer = await ask(victim, `${item}\n`.repeat(1001), 'application/x-ndjson');
        assertProblem(answer, 413, 'payload-too-large');
        assert.equal(answer.json<{ limitItems: number }>().limitItems, 1000);
      }),
    );
    for (const [what, type] of [
      ['a form', 'application/x-www-form-urlencoded'],
      ['text', 'text/plain'],
      ['no media type that is one', 'json'],
    ] as const) {
      await t.test(`T18: ${what} gets 415`, () =>
        victim.untouchedBy(async () =>
          assertProblem(await ask(victim, `[${item}]`, type), 415, 'unsupported-media-type'),
        ),
      );
    }
    await t.test('T18: gzip gets 415', () =>
      victim.untouchedBy(async () =>
        assertProblem(
          await ask(victim, gzipSync(`[${item}]`), 'application/json', [['Content-Encoding', 'gzip']]),
          415,
          'unsupported-content-encoding',
        ),
      ),
    );
    for (const [name, value] of [
      ['Idempotency-Key', 'k'],
      ['Correlation-Id', 'c'],
      ['Operation-Timeout', '5s'],
      ['Operation-Durability', 'none'],
      ['Result-Key', '42'],
      ['Callback-Url', 'https://example.com/'],
    ] as const) {
      await t.test(`${name} on the batch itself gets 400, and says where it belongs`, () =>
        victim.untouchedBy(async () => {
          const answer = await ask(victim, `[${item}]`, 'application/json', [[name, value]]);
          assertProblem(answer, 400, 'invalid-parameter');
          assert.match(answer.text, /headers of an item/);
        }),
      );
    }
  }));

test('T23-T33: items that are wrong are refused in their place, in an array and in lines', (t) =>
  underAttack(t, { services: jobs }, async (victim) => {
    const rows: readonly (readonly [what: string, item: string, code: string])[] = [
      ['a number', '5', 'invalid-parameter'],
      ['an array', deep(60), 'invalid-parameter'],
      ['no service', '{}', 'invalid-parameter'],
      ['a service that is none', '{"service":{"name":"jobs"}}', 'invalid-parameter'],
      ['T30: a service like a path', '{"service":"../../etc"}', 'invalid-name'],
      ['T30: a service with a NUL', '{"service":"a\\u0000"}', 'invalid-name'],
      ['T30: __proto__ as a service', '{"service":"__proto__"}', 'invalid-name'],
      ['a service that every object has', '{"service":"toString"}', 'unknown-service'],
      ['a method in small letters', '{"service":"jobs","method":"post"}', 'invalid-parameter'],
      ['a method with a line end', '{"service":"jobs","method":"GET /\\r\\n"}', 'invalid-parameter'],
      ['a path without a slash', '{"service":"jobs","path":"x"}', 'invalid-parameter'],
      ['a path that climbs', '{"service":"jobs","path":"/../../v1/batch"}', 'bad-path'],
      ['a path with a line end', '{"service":"jobs","path":"/a\\r\\nX: y"}', 'bad-path'],
      ['a query with a line end', '{"service":"jobs","query":"a\\r\\nX: y"}', 'invalid-parameter'],
      ['T35: CR LF in a header', '{"service":"jobs","headers":{"X-A":"a\\r\\nSet-Cookie: b"}}', 'invalid-parameter'],
      ['T35: CR LF in a header name', '{"service":"jobs","headers":{"X\\r\\nA":"a"}}', 'invalid-parameter'],
      ['body and bodyBase64', '{"service":"jobs","body":"a","bodyBase64":"YQ=="}', 'invalid-parameter'],
      ['base64 that is none', '{"service":"jobs","bodyBase64":"-_-_"}', 'invalid-parameter'],
      ['base64 without its padding', '{"service":"jobs","bodyBase64":"YQ"}', 'invalid-parameter'],
      ['T33: a wait', '{"service":"jobs","headers":{"Prefer":"wait=999999"}}', 'invalid-parameter'],
      [
        'T33: a timeout beyond all',
        '{"service":"jobs","headers":{"Operation-Timeout":"9007199254740993s"}}',
        'invalid-parameter',
      ],
      [
        'a body over the limit of its service',
        `{"service":"jobs","body":"${'x'.repeat(10 * 1024 * 1024 + 1)}"}`,
        'payload-too-large',
      ],
    ];
    for (const [what, wrong, code] of rows) {
      await t.test(`${what} gets ${code}`, () =>
        victim.untouchedBy(async () => {
          for (const [type, body] of [
            ['application/json', `[${wrong}]`],
            ['application/x-ndjson', wrong],
          ] as const) {
            const answer = await ask(victim, body, type);
            assert.equal(answer.status, 200, answer.text);
            assert.ok(answer.text.includes(`"problem":{`) && answer.text.includes(`"code":"${code}"`), answer.text);
            assert.doesNotMatch(answer.text, /node_modules|\.ts:\d|\bSELECT\b|SQLITE/);
          }
        }),
      );
    }
    await t.test('T24, T27: a body inside an item is opaque: deep, doubled keys, huge numbers', async () => {
      const bodies = [deep(200_000), '{"a":1,"a":2}', '1e999', '{"__proto__":{"x":1}}', `[${'0,'.repeat(1_000_000)}0]`];
      const answer = await ask(victim, `[${bodies.map((body) => `{"service":"jobs","body":${body}}`).join(',')}]`);
      assert.deepEqual(
        answer.json<{ status: number }[]>().map(({ status }) => status),
        bodies.map(() => 202),
      );
    });
  }));

test('a server that is killed in the middle of batches has every operation that it told of', async (t) => {
  const folder = await temporaryFolder(t);
  const server = await spawnServer(t, { services: jobs, data: join(folder, 'data') });
  const told: OperationReceipt[] = [];
  for (let kill = 0; kill < 3; kill++) {
    let cut = 0;
    const callers = Array.from({ length: 4 }, async () => {
      for (;;) {
        try {
          const items = Array.from({ length: 250 }, (_, at) => ({ service: 'jobs', body: `${told.length} ${at}` }));
          const answer = await post(`${server.url}/v1/batch`, { body: items });
          if (answer.status !== 200) return;
          for (const { operation } of answer.json<{ operation: OperationReceipt }[]>()) told.push(operation);
        } catch {
          cut++;
          return;
        }
        // Right after an answer the others are in the midst of theirs.
        if (told.length >= (kill + 1) * 2000) void (killed ??= server.killAndStart(0));
      }
    });
    let killed: Promise<void> | undefined;
    await Promise.all(callers);
    await killed;
    assert.ok(cut > 0, 'a batch was on its way');
  }
  for (let at = 0; at < told.length; at += 37) {
    const operation = await statusOf(told[at]!.links.self);
    assert.equal(operation.status, 'queued');
  }
  const known = new Set<string>();
  let query = '';
  do {
    const page = (await post(`${server.url}/v1/operations?limit=1000${query}`, { method: 'GET' })).json<{
      items: { id: string }[];
      next: string | null;
    }>();
    for (const { id } of page.items) known.add(id);
    query = page.next === null ? '' : `&cursor=${encodeURIComponent(page.next)}`;
  } while (query !== '');
  assert.deepEqual(
    told.filter(({ id }) => !known.has(id)).map(({ id }) => id),
    [],
  );
});
