// Publishing under attack: names that are none, events that are none, sizes that are too large. Each is refused by its word, and nothing is kept of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertProblem, assertUsable, underAttack, type Victim } from '../support/victim.ts';
import { requestBytes, type RequestParts } from '../support/raw-http.ts';

const structured: readonly [string, string] = ['Content-Type', 'application/cloudevents+json'];
const batched: readonly [string, string] = ['Content-Type', 'application/cloudevents-batch+json'];
const megabyte = 1024 * 1024;

const event = (more: Record<string, unknown> = {}): string =>
  JSON.stringify({ specversion: '1.0', id: '1', source: '/s', type: 't', ...more });
const to = (topic: string, parts: RequestParts = {}): RequestParts => ({
  method: 'POST',
  path: `/v1/topics/${topic}/events`,
  body: 'x',
  ...parts,
});

/** After an attack no topic is there, the connection goes on, and the server still works. */
const refusedBy = (victim: Victim) => (parts: RequestParts, status: number, code: string) =>
  victim.untouchedBy(async () => {
    const connection = await victim.open();
    connection.send(requestBytes(parts));
    assertProblem(await connection.response(), status, code);
    if (status !== 413) await assertUsable(connection);
    connection.destroy();
    const topics = await victim.ask({ path: '/v1/topics' });
    assert.deepEqual(topics.json(), { items: [], next: null }, 'no topic was made');
  });

const names: [name: string, encoded: string, status: number, code: string][] = [
  ['a path that climbs', '..%2F..%2Fetc', 400, 'bad-path'],
  ['a slash', 'a%2Fb', 400, 'invalid-name'],
  ['a dot', '%2e', 400, 'bad-path'],
  ['an empty word', 'a..b', 400, 'invalid-name'],
  ['a dot at the end', 'a.', 400, 'invalid-name'],
  ['255 characters and one', 'a'.repeat(256), 400, 'invalid-name'],
  ['a word of 129', `a.${'b'.repeat(129)}`, 400, 'invalid-name'],
  ['4 kB', 'a.'.repeat(2048), 400, 'invalid-name'],
  ['10 kB', 'a'.repeat(10_240), 414, 'uri-too-long'],
  ['NUL', 'a%00', 400, 'bad-path'],
  ['right to left', '%E2%80%AEabc', 400, 'invalid-name'],
  ['no width at all', 'a%E2%80%8Bb', 400, 'invalid-name'],
  ['half of UTF-8', 'a%C3', 400, 'bad-path'],
  ['a wildcard of NATS', '%3E', 400, 'invalid-name'],
  ['a pattern', 'a.*', 400, 'invalid-name'],
  ['a pattern of any depth', '%23', 400, 'invalid-name'],
  ['a system subject', '$SYS', 400, 'invalid-name'],
  ['SQL', "';%20drop%20table%20topic", 400, 'invalid-name'],
  ['encoded twice', 'a%252eb', 400, 'invalid-name'],
  ['one of the server', 'operations.score.succeeded', 403, 'reserved-topic'],
  ['all of the server', 'operations', 403, 'reserved-topic'],
  ['the same in disguise', 'operations%2escore', 403, 'reserved-topic'],
];

test('names of topics that are none, or not for others', async (t) => {
  await underAttack(t, {}, async (victim) => {
    const refused = refusedBy(victim);
    for (const [name, topic, status, code] of names) await t.test(name, () => refused(to(topic), status, code));
    await t.test('names that only look odd are names', async () => {
      for (const topic of ['con', 'amq-gen', 'A', '0', 'operations2.x', 'a%2Eb', 'x'.repeat(128)])
        assert.equal((await victim.ask(to(topic))).status, 202, topic);
      const topics = (await victim.ask({ path: '/v1/topics' })).json<{ items: { name: string }[] }>();
      assert.ok(topics.items.some(({ name }) => name === 'a.b'));
    });
  });
});

const events: [name: string, parts: RequestParts, status: number, code: string][] = [
  ['no id', { headers: [structured], body: event({ id: undefined }) }, 400, 'invalid-cloudevent'],
  ['no source', { headers: [structured], body: event({ source: undefined }) }, 400, 'invalid-cloudevent'],
  ['no type', { headers: [structured], body: event({ type: '' }) }, 400, 'invalid-cloudevent'],
  ['specversion 0.3', { headers: [structured], body: event({ specversion: '0.3' }) }, 400, 'invalid-cloudevent'],
  [
    'an attribute of a million',
    { headers: [structured], body: event({ subject: 'x'.repeat(1e6) }) },
    400,
    'invalid-cloudevent',
  ],
  [
    'a hundred attributes',
    { headers: [structured], body: event(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`a${i}`, 'x']))) },
    400,
    'invalid-cloudevent',
  ],
  [
    '__proto__',
    { headers: [structured], body: event().replace('{', '{"__proto__":{"x":1},') },
    400,
    'invalid-cloudevent',
  ],
  ['constructor', { headers: [structured], body: event({ constructor: 'x' }) }, 400, 'invalid-cloudevent'],
  ['an id twice', { headers: [structured], body: event().replace('{', '{"id":"2",') }, 400, 'invalid-cloudevent'],
  [
    'data twice',
    { headers: [structured], body: event({ data: 1 }).replace('{', '{"data_base64":"",') },
    400,
    'invalid-cloudevent',
  ],
  ['half of a surrogate pair', { headers: [structured], body: event({ subject: '\ud800' }) }, 400, 'invalid-json'],
  ['a NUL in the id', { headers: [structured], body: event({ id: 'a\0b' }) }, 400, 'invalid-cloudevent'],
  [
    'a time that never was',
    { headers: [structured], body: event({ time: '2026-02-31T25:00:00Z' }) },
    400,
    'invalid-cloudevent',
  ],
  ['no JSON', { headers: [structured], body: '{"specversion":"1.0",' }, 400, 'invalid-json'],
  ['JSON and more', { headers: [structured], body: `${event()} {}` }, 400, 'invalid-json'],
  ['an array in structured mode', { headers: [structured], body: `[${event()}]` }, 400, 'invalid-cloudevent'],
  ['one event in batched mode', { headers: [batched], body: event() }, 400, 'invalid-json'],
  [
    'one wrong among good ones',
    { headers: [batched], body: `[${event()},${event({ id: 2 })}]` },
    400,
    'invalid-cloudevent',
  ],
  ['structured and binary', { headers: [structured, ['ce-id', '7']], body: event() }, 400, 'invalid-cloudevent'],
  ['batched and binary', { headers: [batched, ['CE-Id', '7']], body: `[${event()}]` }, 400, 'invalid-cloudevent'],
  [
    'binary without a version',
    {
      headers: [
        ['ce-id', '1'],
        ['ce-source', '/s'],
        ['ce-type', 't'],
      ],
    },
    400,
    'invalid-cloudevent',
  ],
  [
    'binary with an id twice',
    {
      headers: [
        ['ce-specversion', '1.0'],
        ['ce-id', '1'],
        ['ce-id', '2'],
        ['ce-source', '/s'],
        ['ce-type', 't'],
      ],
    },
    400,
    'invalid-cloudevent',
  ],
  [
    'binary with broken escapes',
    {
      headers: [
        ['ce-specversion', '1.0'],
        ['ce-id', '%ff'],
        ['ce-source', '/s'],
        ['ce-type', 't'],
      ],
    },
    400,
    'invalid-cloudevent',
  ],
  ['another format', { headers: [['Content-Type', 'application/cloudevents+avro']] }, 400, 'invalid-cloudevent'],
  [
    'JSON that is none, wrapped',
    { headers: [['Content-Type', 'application/json']], body: '{"a":' },
    400,
    'invalid-cloudevent',
  ],
  ['a body in gzip', { headers: [['Content-Encoding', 'gzip']] }, 415, 'unsupported-content-encoding'],
  ['a key too long', { headers: [['Ordering-Key', 'k'.repeat(256)]] }, 400, 'invalid-parameter'],
  [
    'a key twice',
    {
      headers: [
        ['Ordering-Key', 'a'],
        ['Ordering-Key', 'b'],
      ],
    },
    400,
    'duplicate-header',
  ],
  [
    'two keys',
    { headers: [structured, ['Ordering-Key', 'a']], body: event({ partitionkey: 'b' }) },
    400,
    'conflicting-headers',
  ],
  [
    'an own key too long',
    { headers: [structured], body: event({ partitionkey: 'b'.repeat(256) }) },
    400,
    'invalid-cloudevent',
  ],
  [
    'an id and a key for one',
    { headers: [structured, ['Idempotency-Key', 'k']], body: event() },
    400,
    'conflicting-headers',
  ],
];

test('events that are none: refused by what is wrong with them, and a batch as a whole', async (t) => {
  await underAttack(t, {}, async (victim) => {
    const refused = refusedBy(victim);
    for (const [name, parts, status, code] of events)
      await t.test(name, () => refused(to('facts', parts), status, code));
  });
});

test('sizes: one event, one of a batch, a batch, its number', async (t) => {
  await underAttack(t, {}, async (victim) => {
    const refused = refusedBy(victim);
    const limitOf = async (parts: RequestParts): Promise<unknown> => {
      const problem = (await victim.ask(to('facts', parts))).json();
      return problem['limitBytes'] ?? problem['limitItems'];
    };
    const large: [name: string, parts: RequestParts, limit: number][] = [
      ['a wrapped body', { body: Buffer.alloc(megabyte + 1) }, megabyte],
      ['a structured event', { headers: [structured], body: event({ data: 'x'.repeat(megabyte) }) }, megabyte],
      [
        'one of a batch',
        { headers: [batched], body: `[${event()},${event({ data: 'x'.repeat(megabyte) })}]` },
        megabyte,
      ],
      ['a batch', { headers: [batched], body: Buffer.alloc(16 * megabyte + 1, ' ') }, 16 * megabyte],
      ['1,001 events', { headers: [batched], body: `[${Array.from({ length: 1001 }, () => event()).join()}]` }, 1000],
    ];
    for (const [name, parts, limit] of large)
      await t.test(name, async () => {
        await refused(to('facts', parts), 413, 'payload-too-large');
        assert.equal(await limitOf(parts), limit);
      });
    await t.test('as large as may be is taken', async () => {
      assert.equal((await victim.ask(to('facts', { body: Buffer.alloc(megabyte) }))).status, 202);
      const most = Array.from({ length: 1000 }, (_, i) => event({ id: String(i) }));
      const batch = await victim.ask(to('facts', { headers: [batched], body: `[${most.join()}]` }));
      assert.equal(batch.json<{ ids: string[] }>().ids.length, 1000);
      assert.equal((await victim.ask(to('facts', { headers: [batched], body: '[]' }))).status, 202);
      const page = await victim.ask({ path: '/v1/topics/facts/events?limit=1000' });
      assert.equal(page.json<{ items: unknown[] }>().items.length, 1000, 'what one page cannot hold is in the next');
    });
  });
});

test('patterns to read by: what is none is refused, and the worst there is finds what it should', async (t) => {
  await underAttack(t, {}, async (victim) => {
    const read = (pattern: string) => victim.ask({ path: `/v1/topics/${pattern}/events` });
    for (const pattern of ['**.**.**.**.**', 'a*', '***', '*.'.repeat(2000), '%23%23', '(a+)+$*', '*%2F*'])
      assertProblem(await read(pattern), 400, 'invalid-filter');
    assertProblem(await read('(a+)+$'), 400, 'invalid-name');
    const deep = Array.from({ length: 127 }, () => 'a').join('.');
    assert.equal((await victim.ask(to(deep))).status, 202);
    assert.equal((await victim.ask(to(`${deep}b`))).status, 202);
    for (const [pattern, found] of [
      ['**.a.**.a.**.a.**.a', 1],
      ['**.a.%23.a.**.a.%23.b', 0],
      ['**.*.**.*.**.*.**', 2],
    ] as const) {
      const { items } = (await read(pattern)).json<{ items: unknown[] }>();
      assert.equal(items.length, found, pattern);
    }
  });
});

test('who has another key sees, cuts and lists nothing of it', async (t) => {
  await underAttack(t, { namespaces: ['red', 'blue'] }, async (victim) => {
    assert.equal((await victim.askAs('red', to('secrets', { body: 'x' }))).status, 202);
    const put = { method: 'PUT', path: '/v1/topics/secrets', headers: [['Content-Type', 'application/json']] } as const;
    assert.equal((await victim.askAs('red', { ...put, body: '{"maxAge":"1h"}' })).status, 201);
    assertProblem(await victim.askAs('blue', { path: '/v1/topics/secrets' }), 404, 'not-found');
    assert.deepEqual((await victim.askAs('blue', { path: '/v1/topics' })).json()['items'], []);
    assert.deepEqual((await victim.askAs('blue', { path: '/v1/topics/**/events' })).json()['items'], []);
    // A setting of the same name is another one's.
    assert.equal((await victim.askAs('blue', { ...put, body: '{"maxAge":"1ms"}' })).status, 201);
    const red = (await victim.askAs('red', { path: '/v1/topics/secrets' })).json<{ retention: { maxAge: string } }>();
    assert.equal(red.retention.maxAge, '1h');
    const kept = await victim.askAs('red', { path: '/v1/topics/secrets/events' });
    assert.equal(kept.json<{ items: unknown[] }>().items.length, 1);
    for (const [method, path] of [
      ['POST', '/v1/topics/secrets/events'],
      ['GET', '/v1/topics/secrets/events'],
      ['GET', '/v1/topics'],
      ['PUT', '/v1/topics/secrets'],
    ] as const)
      assertProblem(
        await victim.ask({ method, path, ...(method === 'GET' ? {} : { body: '{}' }) }),
        401,
        'unauthenticated',
      );
  });
});
