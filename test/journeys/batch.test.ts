// Many requests in one: each is what it would have been on its own, all are stored together, and one that is wrong spoils no other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient } from '@waitless/client';
import { type BatchOutcome, unbuiltRequestHeaders } from '@waitless/protocol';
import { backendFor, gate } from '../support/backend.ts';
import { everyByte, fragileJson, noise } from '../support/fixtures.ts';
import { get, post, type Received, send, type Sent } from '../support/http.ts';
import { assertProblem, ended, resultOf, statusOf, submit } from '../support/operations.ts';
import { leaseCall, leasedBody, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor, type TestServer } from '../support/server.ts';

const jobs = { jobs: { target: { pull: true } }, other: { target: { pull: true } } };

type Outcome = BatchOutcome & { problem?: { line?: number } };

async function batch(server: TestServer, items: unknown, sent: Sent = {}): Promise<Outcome[]> {
  const text = typeof items === 'string' || items instanceof Uint8Array ? items : JSON.stringify(items);
  const answer = await post(`${server.url}/v1/batch`, {
    body: text,
    ...sent,
    headers: { 'Content-Type': 'application/json', ...sent.headers },
  });
  assert.equal(answer.status, 200, answer.text.slice(0, 300));
  return answer.json<Outcome[]>();
}

const linesOf = (answer: Received): Outcome[] => {
  assert.equal(answer.status, 200, answer.text.slice(0, 300));
  assert.equal(answer.headers['content-type'], 'application/x-ndjson');
  assert.ok(answer.text === '' || answer.text.endsWith('\n'));
  return answer.text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Outcome);
};

const inLines = (server: TestServer, text: string, headers: Record<string, string> = {}): Promise<Received> =>
  post(`${server.url}/v1/batch`, { body: text, headers: { 'Content-Type': 'application/x-ndjson', ...headers } });

const countOf = async (server: TestServer, sent: Sent = {}): Promise<number> =>
  (await get(`${server.url}/v1/operations?limit=1000`, sent)).json<{ items: unknown[] }>().items.length;

test('each item reaches the backend as the same request of its own does, and its receipt is the same', async (t) => {
  const backend = await backendFor(t, ({ headers }) => ({ body: `done ${headers['x-case']}` }));
  const server = await serverFor(t, { services: { score: { target: { url: `${backend.url}/base` } } } });
  const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const cases: { method: string; path: string; query: string; headers: [string, string][]; body: string }[] = [
    { method: 'POST', path: '', query: '', headers: [], body: 'plain' },
    { method: 'GET', path: '/customers/4%2F2', query: 'a=1&a=2&b=%20', headers: [['Accept', 'text/plain']], body: '' },
    {
      method: 'DELETE',
      path: '/x/',
      query: '',
      headers: [
        ['X-Twice', 'one'],
        ['X-Twice', 'two'],
      ],
      body: '',
    },
    { method: 'PUT', path: '/x', query: 'q', headers: [['Content-Type', 'application/json']], body: '{"a": 1e999}' },
    {
      method: 'PATCH',
      path: '/y',
      query: '',
      headers: [
        ['Content-Type', 'text/plain; charset=utf-8'],
        ['Cookie', 'held back'],
        ['Range', 'bytes=0-1'],
        ['Connection', 'X-Hop'],
        ['X-Hop', 'held back'],
        ['TE', 'trailers'],
        ['traceparent', trace],
        ['tracestate', 'a=b'],
        ['Correlation-Id', 'conversation 1'],
        ['Operation-Labels', 'customer=42, region=eu'],
        ['Operation-Timeout', '90s'],
      ],
      body: 'text',
    },
    {
      method: 'POST',
      path: '/z',
      query: '',
      headers: [
        ['traceparent', 'broken'],
        ['tracestate', 'a=b'],
      ],
      body: 'x',
    },
  ];
  const named = (headers: [string, string][], name: string): [string, string][] => [...headers, ['X-Case', name]];

  const alone = [];
  for (const [at, { method, path, query, headers, body }] of cases.entries()) {
    const fields: Record<string, string | string[]> = {};
    for (const [name, value] of named(headers, `alone ${at}`))
      fields[name] = name in fields ? [fields[name] as string, value] : value;
    const sent = { method, headers: fields, ...(body === '' ? {} : { body }) };
    alone.push(await submit(server.url, 'score', { ...sent, path: `${path}${query && `?${query}`}` }));
  }
  const together = await batch(
    server,
    cases.map(({ headers, ...item }, at) => ({ service: 'score', ...item, headers: named(headers, `batch ${at}`) })),
  );

  const requests = await backend.received(2 * cases.length);
  const seen = (name: string) => {
    const { method, target, rawHeaders, body } = requests.find(({ headers }) => headers['x-case'] === name)!;
    // Those that name the operation or frame the message differ by their nature.
    const own =
      /^(host|connection|content-length|x-case|idempotency-key|operation-(id|deadline|reply-url|progress-url))$/i;
    const fields: string[] = [];
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const [field, value] = [rawHeaders[i]!, rawHeaders[i + 1]!];
      if (!own.test(field) && !(/^correlation-id$/i.test(field) && value !== 'conversation 1'))
        fields.push(`${field}: ${value}`);
    }
    return { method, target, fields, body: body.toString() };
  };
  for (const [at, { id, receipt }] of alone.entries()) {
    assert.deepEqual(seen(`batch ${at}`), seen(`alone ${at}`));
    const outcome = together[at]!;
    assert.equal(outcome.status, 202);
    const like = (text: string, own: string): string => text.replaceAll(own, 'ID').replace(/"createdAt":"[^"]+"/, '');
    assert.equal(like(JSON.stringify(outcome.operation), outcome.operation!.id), like(JSON.stringify(receipt), id));
    assert.equal(
      (await resultOf(outcome.operation!.resourceLocation)).text,
      cases[at]!.method === 'HEAD' ? '' : `done batch ${at}`,
    );
  }
  assert.equal((await statusOf(together[4]!.operation!.links.self)).labels['customer'], '42');
});

test('an item that is wrong has the problem that it would have had on its own, in its place, and the others are stored', async (t) => {
  const server = await serverFor(t, { services: { ...jobs, small: { target: { pull: true }, maxBody: '1kb' } } });
  const wrong: readonly (readonly [item: Record<string, unknown>, status: number, code: string])[] = [
    [{ service: 'nowhere' }, 404, 'unknown-service'],
    [{ service: 'a b' }, 400, 'invalid-name'],
    [{ service: '' }, 400, 'invalid-name'],
    [{ service: 'jobs/path' }, 400, 'invalid-name'],
    [{ service: 'jobs', path: '/a/../b' }, 400, 'bad-path'],
    [{ service: 'jobs', path: '/a//b' }, 400, 'bad-path'],
    [{ service: 'jobs', path: '/%00' }, 400, 'bad-path'],
    [{ service: 'jobs', path: '/a#b' }, 400, 'bad-path'],
    [{ service: 'jobs', path: `/${'a'.repeat(8200)}` }, 414, 'uri-too-long'],
    [{ service: 'jobs', query: 'a'.repeat(8200) }, 414, 'uri-too-long'],
    [{ service: 'jobs', method: 'TRACE' }, 405, 'method-not-allowed'],
    [{ service: 'jobs', method: 'CONNECT' }, 405, 'method-not-allowed'],
    [{ service: 'small', body: 'x'.repeat(1025) }, 413, 'payload-too-large'],
    [{ service: 'jobs', headers: { Prefer: 'wait=5' } }, 400, 'invalid-parameter'],
    [{ service: 'jobs', headers: { Prefer: 'respond-async, wait=0' } }, 400, 'invalid-parameter'],
    [{ service: 'jobs', headers: { 'Operation-Timeout': 'soon' } }, 400, 'invalid-parameter'],
    [{ service: 'jobs', headers: { 'Operation-Delay': '-1s' } }, 400, 'invalid-parameter'],
    [{ service: 'jobs', headers: { 'Operation-Priority': '10' } }, 400, 'invalid-parameter'],
    [{ service: 'jobs', headers: { 'Operation-Labels': 'a' } }, 400, 'invalid-parameter'],
    [{ service: 'jobs', headers: { 'Operation-Durability': 'disk' } }, 400, 'invalid-parameter'],
    [{ service: 'jobs', headers: { 'Correlation-Id': '' } }, 400, 'invalid-parameter'],
    [{ service: 'jobs', headers: { 'idempotency-key': 'a b' } }, 400, 'idempotency-key-invalid'],
    [
      {
        service: 'jobs',
        headers: [
          ['Idempotency-Key', 'a'],
          ['idempotency-key', 'b'],
        ],
      },
      400,
      'duplicate-header',
    ],
    [{ service: 'jobs', headers: { 'Transfer-Encoding': 'gzip' } }, 400, 'bad-request'],
    [{ service: 'jobs', headers: { 'Cache-Control': 'max-age=soon' } }, 400, 'invalid-parameter'],
    ...Array.from(
      unbuiltRequestHeaders.values(),
      (name) => [{ service: 'jobs', headers: { [name]: 'a' } }, 501, 'not-implemented'] as const,
    ),
    [{ service: 'jobs', headers: { Accept: 'text/event-stream' } }, 400, 'invalid-parameter'],
    [
      { service: 'jobs', headers: { 'Operation-Durability': 'none', 'Idempotency-Key': 'k' } },
      400,
      'conflicting-headers',
    ],
    [{ service: 'jobs', headers: Array.from({ length: 101 }, (_, i) => [`x-${i}`, 'v']) }, 431, 'too-many-headers'],
    [{ service: 'jobs', headers: { a: 'x'.repeat(17_000) } }, 431, 'too-many-headers'],
    [{ service: 5 }, 400, 'invalid-parameter'],
  ];
  const good = { service: 'jobs', body: 'good' };

  const outcomes = await batch(
    server,
    wrong.flatMap(([item]) => [good, item]),
  );

  assert.equal(outcomes.length, 2 * wrong.length);
  for (const [at, [item, status, code]] of wrong.entries()) {
    assert.equal(outcomes[2 * at]!.status, 202);
    const { problem, ...rest } = outcomes[2 * at + 1]!;
    assert.deepEqual(
      [rest, problem?.code, problem?.status],
      [{ status }, code, status],
      JSON.stringify(item).slice(0, 100),
    );
  }
  assert.equal(await countOf(server), wrong.length, 'every good one and nothing else');
});

test('twins in one batch see each other, and a repeated batch gives the same operations', async (t) => {
  const server = await serverFor(t, { services: jobs, data: 'folder' });
  const keyed = (key: string, body: string, service = 'jobs') => ({
    service,
    body,
    headers: { 'Idempotency-Key': key },
  });
  const items = [
    keyed('a', 'x'),
    keyed('"a"', 'x'),
    keyed('a', 'y'),
    keyed('a', 'x', 'other'),
    { service: 'jobs', body: 'x' },
    { service: 'jobs', body: 'x' },
    keyed('b', 'x'),
  ];

  const first = await batch(server, items);
  assert.deepEqual(
    first.map(({ status, replayed, problem }) => problem?.code ?? (replayed ? 'replayed' : status)),
    [202, 'replayed', 'idempotency-key-reused', 202, 202, 202, 202],
  );
  assert.deepEqual(first[1]!.operation, first[0]!.operation);
  const ids = new Set(first.flatMap(({ operation }) => operation?.id ?? []));
  assert.equal(ids.size, 5);
  assert.equal(await countOf(server), 5);

  await server.restart();
  const again = await batch(server, items);
  assert.deepEqual(
    again.map(({ status, replayed, problem }) => problem?.code ?? (replayed ? 'replayed' : status)),
    ['replayed', 'replayed', 'idempotency-key-reused', 'replayed', 202, 202, 'replayed'],
  );
  for (const at of [0, 1, 3, 6]) assert.deepEqual(again[at]!.operation, first[at]!.operation);
  // One of its own and one in a batch are the same request.
  const alone = await submit(server.url, 'jobs', { body: 'x', headers: { 'Idempotency-Key': 'b' } });
  assert.equal(alone.id, first[6]!.operation!.id);
});

test('bodies: a string is its bytes, other JSON its source text, anything else in base64', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const large = Buffer.from(noise(300_000, 7));
  const bodies: [source: string, expected: Uint8Array][] = [
    ['"text \\u20ac \\"quoted\\" \\ud83d\\ude00"', Buffer.from('text € "quoted" 😀')],
    ['""', Buffer.alloc(0)],
    [`"${'a€\\n'.repeat(40_000)}"`, Buffer.from('a€\n'.repeat(40_000))],
    ...Object.values(fragileJson).map((bytes): [string, Uint8Array] => {
      // White space around a value is not of the value.
      return [Buffer.from(bytes).toString('utf8'), Buffer.from(Buffer.from(bytes).toString('utf8').trim())];
    }),
  ];
  const source = [
    ...bodies.map(([text]) => `{"service":"jobs","body":${text}}`),
    `{"service":"jobs"}`,
    `{"service":"jobs","bodyBase64":"${Buffer.from(everyByte).toString('base64')}"}`,
    `{"service":"jobs","bodyBase64":"${large.toString('base64')}"}`,
  ];
  const expected = [...bodies.map(([, bytes]) => bytes), Buffer.alloc(0), everyByte, large];

  const outcomes = await batch(server, `[${source.join(',\n ')}]`);
  assert.ok(outcomes.every(({ status }) => status === 202));
  const taken = new Map<string, Buffer>();
  while (taken.size < expected.length) {
    const { leases } = await leaseCall(server.url, 'jobs', { max: 100, waitSeconds: 10 });
    for (const lease of leases) taken.set(lease.operation.id, leasedBody(lease));
  }
  for (const [at, bytes] of expected.entries())
    assert.ok(taken.get(outcomes[at]!.operation!.id)!.equals(bytes), source[at]!.slice(0, 80));
});

test('lines: one item each, broken ones in their place, empty ones none, the last newline optional', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const text =
    '{"service":"jobs","body":"a"}\r\n\n  \n{"service":\n{"service":"nowhere"}\n{"service":"jobs","typo":1}\n{"service":"other"}';
  for (const [what, sent] of [
    ['no newline at the end', text],
    ['one at the end', `${text}\n`],
  ] as const) {
    const outcomes = linesOf(await inLines(server, sent));
    assert.deepEqual(
      outcomes.map(({ status, problem }) => problem?.code ?? status),
      [202, 'invalid-json', 'unknown-service', 'unknown-field', 202],
      what,
    );
    assert.deepEqual([outcomes[1]!.problem!.line, outcomes[3]!.problem!.line], [4, 6]);
    assert.match(outcomes[1]!.problem!.detail!, /^line 4: /);
  }
  assert.equal(await countOf(server), 4);
  assert.deepEqual(linesOf(await inLines(server, '')), []);
});

test('the answer comes as it was asked for, else as the batch was sent', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const item = '{"service":"jobs"}';
  const typeOf = async (type: string, accept: string | undefined): Promise<string | undefined> => {
    const answer = await post(`${server.url}/v1/batch`, {
      body: type.includes('nd') ? item : `[${item}]`,
      headers: { 'Content-Type': type, ...(accept === undefined ? {} : { Accept: accept }) },
    });
    assert.equal(answer.status, 200, answer.text);
    return answer.headers['content-type'];
  };
  const [json, lines] = ['application/json; charset=utf-8', 'application/x-ndjson'];
  assert.equal(await typeOf('application/json', undefined), json);
  assert.equal(await typeOf('application/json; charset=utf-8', '*/*'), json);
  assert.equal(await typeOf('application/json', 'application/x-ndjson'), lines);
  assert.equal(await typeOf('application/x-ndjson', undefined), lines);
  assert.equal(await typeOf('application/ndjson', '*/*'), lines);
  assert.equal(await typeOf('application/x-ndjson', 'application/json'), json);
  assert.equal(await typeOf('application/x-ndjson', 'application/json, application/x-ndjson;q=0.5'), lines);
});

test('results that are stored answer items, and twins of a key in one batch are one computation', async (t) => {
  const held = gate();
  const backend = await backendFor(t, async ({ body }) => {
    await held.opened;
    return { body: `score of ${body.toString()}` };
  });
  const services = { score: { target: { url: backend.url }, key: { body: '/customerId' }, validFor: '1h' } };
  const server = await serverFor(t, { services });
  const of = (customerId: string, headers: Record<string, string> = {}) => ({
    service: 'score',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: { customerId },
  });

  const [first, twin, other, named, keyless] = await batch(server, [
    of('42'),
    of('42', { 'Correlation-Id': 'mine' }),
    of('43'),
    of('42', { 'Cache-Control': 'only-if-cached' }),
    { service: 'score', body: '{}' },
  ]);
  assert.deepEqual([first!.status, first!.cacheStatus], [202, 'waitless; fwd=miss']);
  assert.deepEqual([twin!.status, twin!.cacheStatus], [202, 'waitless; fwd=miss; collapsed']);
  assert.equal(twin!.operation!.id, first!.operation!.id);
  assert.equal(twin!.operation!.correlationId, 'mine');
  assert.notEqual(other!.operation!.id, first!.operation!.id);
  assert.deepEqual([named!.status, named!.problem?.code], [504, 'not-stored']);
  assert.equal(keyless!.status, 400);
  held.open();
  for (const { operation } of [first!, other!]) await ended(operation!.links.self);

  const [hit, anew] = await batch(server, [
    of('42', { 'Correlation-Id': 'later' }),
    of('42', { 'Cache-Control': 'no-cache' }),
  ]);
  assert.deepEqual([hit!.status, hit!.stored, hit!.operation!.id], [200, true, first!.operation!.id]);
  assert.equal(hit!.operation!.correlationId, 'later');
  assert.match(hit!.cacheStatus!, /^waitless; hit; ttl=\d+$/);
  assert.ok(hit!.age! >= 0);
  assert.equal((await get(hit!.operation!.resourceLocation)).text, 'score of {"customerId":"42"}');
  assert.equal(anew!.status, 202);
  assert.notEqual(anew!.operation!.id, first!.operation!.id);
  await ended(anew!.operation!.links.self);
  assert.equal(backend.requests.length, 3);
});

test('each item has the durability it asks for', async (t) => {
  const server = await serverFor(t, { services: jobs, data: 'folder' });
  const [stored, memory, none] = await batch(
    server,
    ['stored', 'memory', 'none'].map((level) => ({
      service: 'jobs',
      body: level,
      headers: { 'Operation-Durability': level },
    })),
  );
  assert.equal(stored!.status, 202);
  assert.equal((await statusOf(memory!.operation!.links.self)).status, 'queued');
  assert.deepEqual(none, { status: 202 });
  const bodies = new Set<string>();
  while (bodies.size < 3) {
    const { leases } = await leaseCall(server.url, 'jobs', { max: 10, waitSeconds: 10 });
    for (const lease of leases) bodies.add(leasedBody(lease).toString());
  }
  assert.deepEqual([...bodies].sort(), ['memory', 'none', 'stored']);
});

test('a service that waits by itself gives a 202 to an item all the same', async (t) => {
  const server = await serverFor(t, {
    services: { jobs: { target: { pull: true }, mode: 'sync', syncWait: '30s' } },
  });
  const [outcome] = await batch(server, [{ service: 'jobs', body: 'x', headers: { Prefer: 'respond-async' } }]);
  assert.equal(outcome!.status, 202);
  const [other] = await batch(server, [{ service: 'jobs', body: 'y' }]);
  assert.equal(other!.status, 202);
  for (let taken = 0; taken < 2; taken++) {
    const lease = await takeOne(server.url, 'jobs');
    await reply(server.url, lease.token, `did ${leasedBody(lease).toString()}`);
  }
  assert.equal((await resultOf(other!.operation!.resourceLocation)).text, 'did y');
});

test('a thousand items are a thousand operations, each told in its place', async (t) => {
  const server = await serverFor(t, { services: jobs, data: 'folder' });
  const name = (at: number): string => `item ${at}`;
  const outcomes = await batch(
    server,
    Array.from({ length: 1000 }, (_, at) => ({
      service: at % 2 === 0 ? 'jobs' : 'other',
      headers: { 'Correlation-Id': name(at) },
      body: { at },
    })),
  );
  assert.equal(outcomes.length, 1000);
  assert.equal(new Set(outcomes.map(({ operation }) => operation!.id)).size, 1000);
  assert.ok(outcomes.every(({ status, operation }, at) => status === 202 && operation!.correlationId === name(at)));
  assert.equal(await countOf(server), 1000);
  await server.restart();
  assert.equal(await countOf(server), 1000);
  const { leases } = await leaseCall(server.url, 'other', { max: 1000 });
  for (const lease of leases)
    assert.equal(`item ${JSON.parse(leasedBody(lease).toString()).at}`, lease.operation.correlationId);
});

test('a batch belongs to the namespace of its key, whatever its items say', async (t) => {
  const server = await serverFor(t, { services: jobs, namespaces: ['red', 'blue'] });
  const items = [{ service: 'jobs', headers: { Authorization: `Bearer ${server.key('blue')}` } }];
  const [outcome] = await batch(server, items, { key: server.key('red') });
  assert.equal(outcome!.status, 202);
  assert.equal(await countOf(server, { key: server.key('red') }), 1);
  assert.equal(await countOf(server, { key: server.key('blue') }), 0);
  assertProblem(await send(`${server.url}/v1/batch`, { method: 'POST', body: items as never }), 401, 'unauthenticated');
});

test('an item may bring the credential that its service passes on; that of the batch is nobody else’s', async (t) => {
  const backend = await backendFor(t);
  const services = { score: { target: { url: backend.url }, forward: ['authorization'] } };
  const server = await serverFor(t, { services, namespaces: ['red'] });
  await batch(server, [{ service: 'score', headers: { Authorization: 'Basic abc' } }, { service: 'score' }], {
    key: server.key('red'),
  });
  const requests = await backend.received(2);
  assert.deepEqual(new Set(requests.map(({ headers }) => headers['authorization'])), new Set(['Basic abc', undefined]));
});

test('a full queue and a spent rate refuse the items that are too many, with the time to come again', async (t) => {
  const services = {
    few: { target: { pull: true }, maxQueued: 3 },
    slow: { target: { pull: true }, rate: '5/h' },
  };
  const server = await serverFor(t, { services });
  const wanted = (service: string, count: number) => Array.from({ length: count }, () => ({ service, body: 'x' }));

  const outcomes = await batch(server, [...wanted('few', 5), ...wanted('slow', 7)]);
  const seen = (from: number, to: number) =>
    outcomes.slice(from, to).map(({ status, problem }) => problem?.code ?? status);
  assert.deepEqual(seen(0, 5), [202, 202, 202, 'queue-full', 'queue-full']);
  assert.deepEqual(seen(5, 12), [202, 202, 202, 202, 202, 'rate-limited', 'rate-limited']);
  for (const { status, problem, retryAfter } of outcomes) {
    assert.ok(retryAfter! >= 1, 'also of those that were accepted: when it is worth asking');
    if (problem) assert.equal(status, 429);
  }
  assert.equal(await countOf(server), 8);
});

test('the client hands a batch over and gets an outcome for each', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const client = createClient({ url: server.url });
  const outcomes = await client.batch([
    { service: 'jobs', path: 'a?b=c', body: { a: 1 }, idempotencyKey: 'k' },
    { service: 'jobs', path: 'a?b=c', body: { a: 1 }, idempotencyKey: 'k' },
    { service: 'nowhere' },
    { service: 'other', body: everyByte },
  ]);
  const [first, again, refused, binary] = outcomes;
  assert.ok(first?.kind === 'accepted' && again?.kind === 'accepted' && binary?.kind === 'accepted');
  assert.deepEqual([again.operation, again.replayed], [first.operation, true]);
  assert.ok(refused?.kind === 'refused' && refused.error.code === 'unknown-service');
  const { request } = await takeOne(server.url, 'jobs');
  assert.deepEqual([request.path, request.query, request.body], ['/a', 'b=c', '{"a":1}']);
  const lease = await takeOne(server.url, 'other');
  assert.ok(leasedBody(lease).equals(everyByte));
  await reply(server.url, lease.token, 'done');
  assert.equal((await client.wait(binary.operation!.id)).text(), 'done');
});
