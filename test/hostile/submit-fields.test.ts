// The fields of a submit at and beyond their edges: each wrong one is refused by name, and no number makes a timer fire at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backendFor } from '../support/backend.ts';
import { assertProblem, underAttack } from '../support/victim.ts';
import { postJson } from '../support/worker.ts';

type Fields = readonly (readonly [string, string])[];

interface Wrong {
  row: string;
  headers: Fields;
  status: number;
  code: string;
}

const each = (
  row: string,
  name: string,
  values: readonly string[],
  code = 'invalid-parameter',
  status = 400,
): Wrong[] => values.map((value) => ({ row, headers: [[name, value]], status, code }));

const durations = [
  '',
  '-1',
  '-1s',
  '5',
  '1e9',
  '1e9s',
  '1e999s',
  'NaN',
  'Infinity',
  '5 s',
  '1s 2s',
  '+1s',
  '1.5.5s',
  '0x10s',
  '367d',
  '9007199254740993ms',
  '999999999999999999999s',
  '1w',
  's',
  '1S',
  'PT1S',
];

const wrong: readonly Wrong[] = [
  ...['Operation-Timeout', 'Operation-Delay', 'Operation-Start-By'].flatMap((name) => each('T33', name, durations)),
  ...each('T33', 'Operation-Priority', ['', '-1', '10', '5.5', 'high', '1e0', '05', '9007199254740993']),
  ...each('T33', 'Operation-Durability', ['', 'disk', 'STORED', 'stored, none', 'stored;x']),
  ...each('T30', 'Operation-Labels', [
    '',
    'a',
    'a=',
    '=b',
    'a=b,',
    'a=b,,c=d',
    'a=b,a=c',
    'a b=c',
    '__proto__=x',
    '-a=b',
    '../a=b',
    `${'a'.repeat(129)}=b`,
    `a=${'b'.repeat(256)}`,
    'a=\xe9',
    'a=\tb\tc',
    Array.from({ length: 17 }, (_, i) => `l${i}=v`).join(','),
  ]),
  ...each('T30', 'Correlation-Id', ['', 'c'.repeat(256), '\xe9', 'a\tb']),
  ...each(
    'T42',
    'Idempotency-Key',
    [
      '',
      '""',
      'k'.repeat(256),
      `"${'k'.repeat(256)}"`,
      'a b',
      'a,b',
      'a;b',
      '"a',
      'a"',
      'a"b',
      '"a"b',
      '"a" "b"',
      '"a", "b"',
      '"a";p=1',
      '"a\\x"',
      '"a\\"',
      '"a\tb"',
      '\xe9',
      '"\xe9"',
    ],
    'idempotency-key-invalid',
  ),
  ...each('T33', 'Cache-Control', ['max-age=soon', 'max-age=-1', 'max-age = 5', 'no-cache, max-age=1e9']),
  ...each('T33', 'Cache-Control', ['only-if-cached', 'max-age=5, Only-If-Cached'], 'not-stored', 504),
  ...(
    [
      ['Prefer', 'wait=5'],
      ['Idempotency-Key', 'k'],
      ['Operation-Delay', '1s'],
    ] as const
  ).map((other): Wrong => ({
    row: 'T28',
    headers: [['Operation-Durability', 'none'], other],
    status: 400,
    code: 'conflicting-headers',
  })),
];

/** Names of services, as they stand in the path. */
const names: readonly (readonly [inPath: string, code: string, status?: number])[] = [
  ['../../etc', 'bad-path'],
  ['.', 'bad-path'],
  ['..', 'bad-path'],
  ['%00', 'bad-path'],
  ['%5c', 'bad-path'],
  ['a%2fb', 'invalid-name'],
  ['a.b', 'invalid-name'],
  ['-a', 'invalid-name'],
  ['_a', 'invalid-name'],
  ['a'.repeat(129), 'invalid-name'],
  ['a'.repeat(8000), 'invalid-name'],
  ['a'.repeat(10_000), 'uri-too-long', 414],
  ['%E2%80%AEabc', 'invalid-name'],
  ['a%E2%80%8Bb', 'invalid-name'],
  ['%D0%B0dmin', 'invalid-name'],
  ['*', 'invalid-name'],
  ['%3E', 'invalid-name'],
  ['%23', 'invalid-name'],
  ['amq.direct', 'invalid-name'],
  ['$SYS', 'invalid-name'],
  ["';%20drop%20table%20operation;--", 'invalid-name'],
  ['w%6frk', 'invalid-name'],
  ['work;v=1', 'invalid-name'],
  ['__proto__', 'invalid-name'],
  ['con', 'unknown-service', 404],
  ['Work', 'unknown-service', 404],
  ['constructor', 'unknown-service', 404],
  ['toString', 'unknown-service', 404],
  ['a'.repeat(128), 'unknown-service', 404],
];

const shown = (text: string): string => JSON.stringify(text.length > 50 ? `${text.slice(0, 50)}…` : text);

test('fields that are wrong', async (t) => {
  await underAttack(t, { services: { work: { target: { pull: true } } } }, async (victim) => {
    for (const { row, headers, status, code } of wrong) {
      const text = headers.map(([name, value]) => `${name}: ${shown(value)}`).join(' with ');
      await t.test(`${row}: ${text} gets ${status} ${code}`, () =>
        victim.untouchedBy(async () => {
          const answer = await victim.ask({ method: 'POST', path: '/v1/call/work', headers, body: 'x' });
          assertProblem(answer, status, code);
          if (code === 'invalid-parameter')
            assert.ok(answer.json<{ detail: string }>().detail.startsWith(headers[0]![0]), 'the field is named');
        }),
      );
    }
    for (const [name, code, status = 400] of names) {
      await t.test(`T30: a submit to the service ${shown(name)} gets ${status} ${code}`, () =>
        victim.untouchedBy(async () =>
          assertProblem(await victim.ask({ method: 'POST', path: `/v1/call/${name}`, body: 'x' }), status, code),
        ),
      );
      if (name.length > 9000 || name.includes(';')) continue;
      await t.test(`T30: a lease of the service ${shown(name)} gets ${status} ${code}`, () =>
        victim.untouchedBy(async () =>
          assertProblem(await postJson(victim, `/v1/services/${name}/leases`, '{}'), status, code),
        ),
      );
    }
  });
});

test('T31, T42: an idempotency key in any of its spellings is one key, another key another, per service', async (t) => {
  await underAttack(
    t,
    { services: { work: { target: { pull: true } }, other: { target: { pull: true } } } },
    async (victim) => {
      const submit = (key: string, { service = 'work', body = 'x' } = {}) =>
        victim.ask({ method: 'POST', path: `/v1/call/${service}`, headers: [['Idempotency-Key', key]], body });
      const first = await submit('"Key-1"');
      assert.equal(first.status, 202);
      const id = first.header('operation-id');
      for (const spelling of ['Key-1', '"Key-1"', '  Key-1  ']) {
        const again = await submit(spelling);
        assert.equal(again.header('operation-id'), id, spelling);
        assert.equal(again.header('idempotent-replayed'), 'true');
        assert.deepEqual(again.body, first.body);
      }
      const seen = new Set([id]);
      for (const key of [
        'key-1',
        '"Key-1 "',
        '"Key\\"1"',
        'Key\\1',
        "'Key-1'",
        '"a, b; c=d"',
        'k'.repeat(255),
        `"${'q'.repeat(255)}"`,
        '__proto__',
        'constructor',
      ]) {
        const one = await submit(key);
        assert.equal(one.status, 202, one.text);
        assert.ok(!seen.has(one.header('operation-id')), `${key} is a key of its own`);
        seen.add(one.header('operation-id'));
      }
      const elsewhere = await submit('Key-1', { service: 'other' });
      assert.equal(elsewhere.status, 202);
      assert.ok(!seen.has(elsewhere.header('operation-id')));
      await t.test('another body under the same key gets 422 and changes nothing', () =>
        victim.untouchedBy(async () =>
          assertProblem(await submit('Key-1', { body: 'y' }), 422, 'idempotency-key-reused'),
        ),
      );
    },
  );
});

test('T33: preferences that are extreme are cut to the limit, malformed ones are ignored, nothing is held for ever', async (t) => {
  await underAttack(
    t,
    { services: { work: { target: { pull: true } } }, fields: { maxWait: '1s' } },
    async (victim) => {
      const answers = await Promise.all(
        ['wait=999999', 'wait=9999999999', 'respond-async, wait=4294967296', 'wait="2147483648"'].map((prefer) =>
          victim.ask({ method: 'POST', path: '/v1/call/work', headers: [['Prefer', prefer]], body: 'x' }),
        ),
      );
      for (const answer of answers) assert.equal(answer.status, 202, answer.text);
      const id = answers[0]!.header('operation-id')!;
      for (const path of [`/v1/operations/${id}`, `/v1/operations/${id}/result`]) {
        const held = await victim.ask({ path, headers: [['Prefer', 'wait=999999']] });
        assert.equal(held.json<{ status: string }>().status, 'queued');
      }
      for (const prefer of [
        'wait=-1',
        'wait=1e9',
        'wait=NaN',
        'wait=0x10',
        'wait',
        'wait=',
        'wait="5',
        'wait=99999999999',
        'handling=strict',
        ',,,,',
        ','.repeat(8000),
        `${' '.repeat(4000)}=${' '.repeat(4000)}`,
        'wait=\x80',
        'wait=5 5',
      ]) {
        const answer = await victim.ask({
          method: 'POST',
          path: '/v1/call/work',
          headers: [['Prefer', prefer]],
          body: 'x',
        });
        assert.equal(answer.status, 202, prefer);
        assert.equal(answer.header('preference-applied'), undefined, prefer);
      }
      const empty = await postJson(
        victim,
        '/v1/services/work/leases',
        '{"max":1000,"waitSeconds":1e15,"leaseSeconds":86400}',
      );
      assert.equal(empty.status, 200);
      const waited = await postJson(victim, '/v1/services/work/leases', '{"waitSeconds":1e15}');
      assert.deepEqual(waited.json()['leases'], []);
    },
  );
});

test('T33: times beyond 2^31 ms do not come at once', async (t) => {
  const backend = await backendFor(t, ({ target }) => ({ body: target }));
  const services = {
    push: {
      target: { url: backend.url },
      timeout: '365d',
      attemptTimeout: '24h',
      retention: '365d',
      idempotencyTtl: '365d',
      replyTimeout: '365d',
    },
  };
  await underAttack(t, { services }, async (victim) => {
    const submit = async (headers: Fields, path: string) => {
      const answer = await victim.ask({ method: 'POST', path: `/v1/call/push/${path}`, headers, body: 'x' });
      assert.equal(answer.status, 202, answer.text);
      return answer.header('operation-id')!;
    };
    const delayed: string[] = [];
    for (const delay of ['25d', '50d', '366d', '2147483648ms', '4294967297ms'])
      delayed.push(await submit([['Operation-Delay', delay]], `late-${delay}`));
    // Those that may run now, sent after those that must not.
    for (const headers of [
      [['Operation-Timeout', '366d']],
      [['Operation-Timeout', '25d']],
      [['Operation-Start-By', '366d']],
      [
        ['Operation-Start-By', '50d'],
        ['Operation-Timeout', '50d'],
      ],
    ] as const) {
      const id = await submit(headers, 'now');
      const result = await victim.ask({ path: `/v1/operations/${id}/result`, headers: [['Prefer', 'wait=30']] });
      assert.equal(`${result.status} ${result.text}`, '200 /now');
    }
    assert.deepEqual([...new Set(backend.requests.map(({ target }) => target))], ['/now']);
    for (const id of delayed) {
      const status = (await victim.ask({ path: `/v1/operations/${id}` })).json<{ status: string; attempt: number }>();
      assert.deepEqual([status.status, status.attempt], ['queued', 0]);
    }
  });
});

test('T28: fields of the result cannot be set by who submits: spoofed ones are neither applied nor passed on', async (t) => {
  await underAttack(t, { services: { work: { target: { pull: true } } } }, async (victim) => {
    const answer = await victim.ask({
      method: 'POST',
      path: '/v1/call/work',
      headers: [
        ['Operation-Id', '0'.repeat(35)],
        ['Operation-Status', 'succeeded'],
        ['Operation-Attempt', '99'],
        ['Operation-Last-Attempt', 'true'],
        ['Operation-Deadline', '2000-01-01T00:00:00Z'],
        ['Operation-Reply-Url', 'http://evil.example/'],
        ['Operation-Progress-Url', 'http://evil.example/'],
        ['Idempotent-Replayed', 'true'],
        ['X-Namespace', 'other'],
        ['Content-Type', 'application/json'],
      ],
      body: '{"tenantId":"other","state":"succeeded","attempt":9,"leaseToken":"x","createdAt":"2000-01-01T00:00:00Z"}',
    });
    assert.equal(answer.status, 202);
    const id = answer.header('operation-id')!;
    assert.notEqual(id, '0'.repeat(35));
    assert.equal(answer.header('idempotent-replayed'), undefined);
    const status = (await victim.ask({ path: `/v1/operations/${id}` })).json<Record<string, unknown>>();
    assert.deepEqual([status['status'], status['attempt'], status['service']], ['queued', 0, 'work']);
    const { leases } = (await postJson(victim, '/v1/services/work/leases', '{}')).json<{
      leases: { attempt: number; request: { headers: [string, string][] } }[];
    }>();
    assert.equal(leases[0]!.attempt, 1);
    assert.deepEqual(leases[0]!.request.headers, [
      ['X-Namespace', 'other'],
      ['Content-Type', 'application/json'],
    ]);
  });
});
