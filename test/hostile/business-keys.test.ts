// No client reads, spoils or removes what another client's key yields: not from another namespace, not with other credentials, and not by a request
// that the server and the backend read in two ways.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backendFor, type BackendRequest } from '../support/backend.ts';
import type { RawResponse, RequestParts } from '../support/raw-http.ts';
import { assertProblem, underAttack, type Victim } from '../support/victim.ts';

const names = new Set(['customerid']);
const isName = (name: string): boolean => names.has(name.toUpperCase().toLowerCase());
const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

/** Whom a request is about, as careless readers of all kinds understand it: first or last member, any case, either meaning of a plus. */
const readers: Readonly<
  Record<string, (request: Pick<BackendRequest, 'target' | 'rawHeaders' | 'body'>) => Set<string>>
> = {
  body({ body }) {
    const found = new Set<string>();
    // Looks for members without caring for what is around them.
    for (const [, name, value] of body
      .toString('utf8')
      .matchAll(/"((?:[^"\\]|\\.)*)"\s*:\s*("(?:[^"\\]|\\.)*"|[^",{}[\]\s]+)/g))
      if (isName(JSON.parse(`"${name}"`) as string))
        found.add(String(value!.startsWith('"') ? JSON.parse(value!) : value));
    return found;
  },
  query({ target }) {
    const found = new Set<string>();
    for (const pair of target.slice(target.indexOf('?') + 1).split(/[&;]/)) {
      const [name = '', ...value] = pair.split('=');
      if (!isName(decoded(name.replaceAll('+', ' ')).replace(/\[.*/, ''))) continue;
      found.add(decoded(value.join('='))).add(decoded(value.join('=').replaceAll('+', ' ')));
    }
    return found;
  },
  header({ rawHeaders }) {
    const found = new Set<string>();
    for (let i = 0; i < rawHeaders.length; i += 2)
      if (rawHeaders[i]!.toLowerCase().replaceAll('_', '-') === 'customer-id')
        found.add(Buffer.from(rawHeaders[i + 1]!, 'latin1').toString('utf8'));
    return found;
  },
  path({ target }) {
    const path = target.replace(/\?.*/, '').replace(/^\/path/, '');
    return new Set([
      decoded(path.split('/')[2] ?? '').replace(/;.*/, ''),
      decoded(path.split('/')[2] ?? ''),
      // Reads a slash in disguise as one where it stands before the segment.
      ...(/%2f/i.test(path.split('/')[1] ?? '') ? [decoded(path).split('/')[2] ?? ''] : []),
    ]);
  },
};

const rules: Readonly<Record<string, unknown>> = {
  body: { body: '/customerId' },
  query: { query: 'customerId' },
  header: { header: 'Customer-Id' },
  path: { path: 2 },
};

const member = (...members: string[]): RequestParts => ({ body: `{${members.join(',')}}` });
const utf8 = (text: string): string => Buffer.from(text).toString('latin1');

/** What B sends, hoping that the backend computes for one customer and the result is filed under another. `refused`: the code; otherwise it must be of one mind. */
const attacks: readonly (readonly [rule: string, what: string, parts: RequestParts, refused?: string])[] = [
  ['body', 'twice', member('"customerId":"41"', '"customerId":"42"'), 'invalid-json'],
  ['body', 'twice, one escaped', member('"customer\\u0049d":"41"', '"customerId":"42"'), 'invalid-json'],
  ['body', 'twice, in two cases', member('"customerId":"42"', '"CustomerID":"41"'), 'invalid-json'],
  ['body', 'twice, null first', member('"customerId":null', '"customerId":"42"'), 'invalid-json'],
  ['body', 'two documents', { body: '{"customerId":"42"}{"customerId":"41"}' }, 'invalid-json'],
  ['body', 'a comment', { body: '{"customerId":"42"/*,"customerId":"41"*/}' }, 'invalid-json'],
  ['body', 'a byte order mark', { body: '\ufeff{"customerId":"42"}' }, 'invalid-json'],
  ['body', 'UTF-16', { body: Buffer.from('{"customerId":"42"}', 'utf16le') }, 'invalid-json'],
  ['body', 'broken UTF-8', { body: Buffer.from('{"customerId":"4\xff2"}', 'latin1') }, 'invalid-json'],
  ['body', 'overlong UTF-8', { body: Buffer.from('{"customerId":"\xc0\xb42"}', 'latin1') }, 'invalid-json'],
  ['body', 'compressed', { body: '{"customerId":"42"}', headers: [['Content-Encoding', 'gzip']] }, 'unsupported-content-encoding'],
  ['body', 'NUL', member('"customerId":"42\\u0000"'), 'invalid-parameter'],
  ['body', '513 bytes', member(`"customerId":"${'4'.repeat(513)}"`), 'invalid-parameter'],
  ['body', 'half a pair', member('"customerId":"42\\ud800"'), 'invalid-parameter'],
  ['body', 'nothing', member('"customerId":""'), 'invalid-parameter'],
  ['body', 'an array', member('"customerId":["42"]'), 'invalid-parameter'],
  ['body', 'another name', member('"customer":"42"'), 'invalid-parameter'],
  ['body', 'deeply nested', { body: `${'['.repeat(200_000)}${']'.repeat(200_000)}` }, 'invalid-parameter'],
  ['body', 'a key of its own', { ...member('"customerId":"41"'), headers: [['Result-Key', '42']] }, 'conflicting-headers'],
  ['body', 'a key of its own in quotes', { ...member('"customerId":"41"'), headers: [['Result-Key', '"42"']] }, 'conflicting-headers'],
  ['body', 'two keys of its own', { ...member('"customerId":"42"'), headers: [['Result-Key', '42'], ['Result-Key', '42']] }, 'duplicate-header'],
  ['body', 'a full-width look-alike', member('"customerId":"４２"')],
  ['body', 'a zero-width space', member('"customerId":"4\u200b2"')],
  ['body', 'a trailing space', member('"customerId":"42 "')],
  ['body', 'a number with a point', member('"customerId":42.0')],
  ['body', 'a key with a slash', member('"customerId":"../42"')],
  ['body', 'a key that looks encoded', member('"customerId":"%34%32"')],
  ['body', 'hidden in a text', member('"note":"\\"customerId\\":\\"41\\""', '"customerId":"42"')],
  ['query', 'twice', { path: '?customerId=42&customerId=41' }, 'invalid-parameter'],
  ['query', 'twice, encoded', { path: '?customerId=42&%63ustomerId=41' }, 'invalid-parameter'],
  ['query', 'twice, in two cases', { path: '?customerid=41&customerId=42' }, 'invalid-parameter'],
  ['query', 'twice, as a list', { path: '?customerId=42&customerId%5b%5d=41' }, 'invalid-parameter'],
  ['query', 'twice, behind a semicolon', { path: '?a=b;customerId=41&customerId=42' }, 'invalid-parameter'],
  ['query', 'a semicolon', { path: '?customerId=42;customerId=41' }, 'invalid-parameter'],
  ['query', 'a bare plus', { path: '?customerId=4+2' }, 'invalid-parameter'],
  ['query', 'NUL', { path: '?customerId=42%00' }, 'invalid-parameter'],
  ['query', 'no UTF-8', { path: '?customerId=42%ff' }, 'invalid-parameter'],
  ['query', 'in the body', { body: 'customerId=42' }, 'invalid-parameter'],
  ['query', 'encoded twice', { path: '?customerId=%2534%2532' }],
  ['query', 'an encoded ampersand', { path: '?customerId=42%26customerId=41' }],
  ['header', 'twice', { headers: [['Customer-Id', '42'], ['Customer-Id', '41']] }, 'duplicate-header'],
  ['header', 'twice, one with an underscore', { headers: [['Customer-Id', '42'], ['Customer_Id', '41']] }, 'duplicate-header'],
  ['header', 'taken off on the way', { headers: [['Customer-Id', '42'], ['Connection', 'Customer-Id']] }, 'invalid-parameter'],
  ['header', 'no UTF-8', { headers: [['Customer-Id', '42\xff']] }, 'invalid-parameter'],
  ['header', 'a list', { headers: [['Customer-Id', '42, 41']] }],
  ['header', 'a look-alike', { headers: [['Customer-Id', utf8('４２')]] }],
  ['path', 'a slash in disguise before it', { path: '/a%2f41/42' }, 'invalid-parameter'],
  ['path', 'a path parameter', { path: '/a/42;v=41' }, 'invalid-parameter'],
  ['path', 'a dot segment', { path: '/a/b/../42' }, 'bad-path'],
  ['path', 'an encoded dot segment', { path: '/a/b%2f..%2f42' }, 'bad-path'],
  ['path', 'NUL', { path: '/a/42%00' }, 'bad-path'],
  ['path', 'encoded', { path: '/a/%34%32' }],
  ['path', 'encoded twice', { path: '/a/%2534%2532' }],
]; // prettier-ignore

test('the readers of this test see what two readers would disagree about', () => {
  const request = (body: string, target = '/', rawHeaders: string[] = []) => ({
    body: Buffer.from(body),
    target,
    rawHeaders,
  });
  assert.deepEqual([...readers['body']!(request('{"customerId":"42","CUSTOMERID":41}'))], ['42', '41']);
  assert.deepEqual([...readers['query']!(request('', '/query?customerId=4+2&CustomerId[]=1'))], ['4+2', '4 2', '1']);
  assert.deepEqual([...readers['header']!(request('', '/', ['customer-id', '42', 'CUSTOMER_ID', '41']))], ['42', '41']);
  assert.deepEqual([...readers['path']!(request('', '/path/a%2f41/42'))], ['42', '41']);
});

/** Every operation's key and what the readers make of its request. */
test('whatever B sends, a result is filed under the one key that every reader reads', async (t) => {
  const backend = await backendFor(t, (request) => ({
    body: JSON.stringify([...readers[/^\/(\w+)/.exec(request.target)![1]!]!(request)]),
  }));
  const services = Object.fromEntries(
    Object.entries(rules).map(([name, key]) => [
      name,
      { target: { url: `${backend.url}/${name}` }, key, validFor: '1h' },
    ]),
  );
  await underAttack(t, { services, namespaces: ['alice'] }, async (victim) => {
    const call = (rule: string, parts: RequestParts): Promise<RawResponse> =>
      victim.askAs('alice', {
        ...parts,
        method: 'POST',
        path: `/v1/call/${rule}${parts.path ?? ''}`,
        headers: [['Prefer', 'wait=20'], ...(parts.headers ?? [])],
      });
    const mine: Readonly<Record<string, RequestParts>> = {
      body: member('"customerId":"42"'),
      query: { path: '?customerId=42' },
      header: { headers: [['Customer-Id', '42']] },
      path: { path: '/a/42' },
    };
    for (const [rule, what, parts, refused] of attacks) {
      await t.test(`${rule}: ${what}${refused === undefined ? '' : ` is refused: ${refused}`}`, async () => {
        if (refused !== undefined) {
          const requests = backend.requests.length;
          await victim.untouchedBy(async () => {
            const answer = await call(rule, parts);
            assertProblem(answer, refused === 'unsupported-content-encoding' ? 415 : 400, refused);
          });
          assert.equal(backend.requests.length, requests, 'and never reaches the backend');
          return;
        }
        const answer = await call(rule, parts);
        assert.equal(answer.status, 200, answer.text);
        const { key } = (
          await victim.askAs('alice', { path: `/v1/operations/${answer.header('operation-id')}` })
        ).json<{ key: string }>();
        assert.deepEqual(answer.json(), [key]);
        const found = await victim.askAs('alice', {
          path: `/v1/services/${rule}/results?key=${encodeURIComponent(key)}`,
        });
        assert.deepEqual(found.json(), [key]);
      });
    }
    for (const [rule, parts] of Object.entries(mine))
      await t.test(`${rule}: 42 is still computed, and found, for 42 alone`, async () => {
        assert.deepEqual((await call(rule, parts)).json(), ['42']);
        const again = await call(rule, parts);
        assert.deepEqual([again.json(), again.header('age') !== undefined], [['42'], true]);
        assert.deepEqual((await victim.askAs('alice', { path: `/v1/services/${rule}/results/42` })).json(), ['42']);
      });
  });
});

/** Everything of an answer that the request itself does not change. */
const comparable = ({ status, fields, text }: RawResponse): unknown => ({
  status,
  fields: fields.map(([name, value]) => (/^(request-id|date)$/.test(name) ? name : `${name}: ${value}`)),
  text: text.replace(/"instance":"[^"]*"/, ''),
});

async function withSecret(
  t: Parameters<typeof underAttack>[0],
  run: (victim: Victim, submit: (namespace: string, cookie?: string) => Promise<RawResponse>) => Promise<void>,
): Promise<void> {
  const backend = await backendFor(t, (_, number) => ({ body: `ossifrage ${number}` }));
  const score = { target: { url: backend.url }, key: { body: '/customerId' }, validFor: '1h', forward: ['cookie'] };
  await underAttack(t, { services: { score }, namespaces: ['alice', 'bob'] }, (victim) =>
    run(victim, (namespace, cookie) =>
      victim.askAs(namespace, {
        method: 'POST',
        path: '/v1/call/score',
        headers: [['Prefer', 'wait=20'], ...(cookie === undefined ? [] : [['Cookie', cookie] as const])],
        body: '{"customerId":"42"}',
      }),
    ),
  );
}

const looks: readonly RequestParts[] = [
  { path: '/v1/services/score/results/KEY' },
  { path: '/v1/services/score/results?key=KEY' },
  { path: '/v1/services/score/results/KEY?envelope=json' },
  { path: '/v1/services/score/results/KEY', headers: [['Prefer', 'wait=1']] },
  { method: 'HEAD', path: '/v1/services/score/results/KEY' },
  { method: 'DELETE', path: '/v1/services/score/results/KEY' },
  { method: 'DELETE', path: '/v1/services/score/results?key=KEY' },
  { method: 'POST', path: '/v1/services/score/results/refresh?key=KEY' },
];
const about = (parts: RequestParts, key: string): RequestParts => ({ ...parts, path: parts.path!.replace('KEY', key) });

test("another namespace's key is one that nobody ever used", async (t) => {
  await withSecret(t, async (victim, submit) => {
    assert.equal((await submit('alice')).text, 'ossifrage 1');
    for (const parts of looks) {
      await t.test(`${parts.method ?? 'GET'} ${parts.path}`, async () => {
        const asked = await victim.askAs('bob', about(parts, '42'));
        assert.equal(asked.status, 404);
        assert.deepEqual(comparable(asked), comparable(await victim.askAs('bob', about(parts, '43'))));
      });
    }
    await t.test('lists and correlation ids neither', async () => {
      const listed = await victim.askAs('bob', { path: '/v1/operations?key=42' });
      assert.deepEqual(listed.json<{ items: unknown[] }>().items, []);
      const [operation] = (await victim.askAs('alice', { path: '/v1/operations?key=42' })).json<{
        items: { id: string }[];
      }>().items;
      const byId = await victim.askAs('bob', { path: `/v1/services/score/results?correlationId=${operation!.id}` });
      assertProblem(byId, 404, 'not-found');
      assert.doesNotMatch(byId.text, new RegExp(operation!.id));
    });
    await t.test("and what bob submits is computed for him, and leaves alice's result as it is", async () => {
      assert.equal((await submit('bob')).text, 'ossifrage 2');
      assert.equal(
        (await victim.askAs('bob', about({ method: 'DELETE', path: '/v1/services/score/results/KEY' }, '42'))).status,
        204,
      );
      const found = await victim.askAs('alice', about(looks[0]!, '42'));
      assert.equal(found.text, 'ossifrage 1');
      const again = await submit('alice');
      assert.deepEqual([again.text, again.header('cache-status')?.startsWith('waitless; hit')], ['ossifrage 1', true]);
    });
  });
});

test('what was computed with a credential is for those who bring the same one', async (t) => {
  await withSecret(t, async (victim, submit) => {
    assert.equal((await submit('alice', 'user=a')).text, 'ossifrage 1');
    for (const headers of [
      [],
      [['Cookie', 'user=b']],
      [['Cookie', 'user=A']],
      [['Cookie', 'user=a; x=1']],
      [
        ['Cookie', 'user=a'],
        ['Cookie', ''],
      ],
    ] as const) {
      // prettier-ignore
      for (const parts of looks) {
        const answer = await victim.askAs('alice', { ...about(parts, '42'), headers: [...headers, ...(parts.headers ?? [])] });
        assert.equal(answer.status, 404, JSON.stringify([parts, headers]));
      }
    }
    assert.equal((await submit('alice', 'user=b')).text, 'ossifrage 2');
    assert.equal((await submit('alice')).text, 'ossifrage 3');
    assert.equal((await submit('alice', 'user=a')).text, 'ossifrage 1');
    const found = await victim.askAs('alice', { ...about(looks[0]!, '42'), headers: [['Cookie', 'user=a']] });
    assert.equal(found.text, 'ossifrage 1');
  });
});

test("under a client's own key alone nothing but the very same request is answered from the store", async (t) => {
  const backend = await backendFor(t, (_, number) => ({ body: String(number) }));
  await underAttack(t, { services: { score: { target: { url: backend.url }, validFor: '1h' } } }, async (victim) => {
    const ask = (parts: RequestParts): Promise<RawResponse> =>
      victim.ask({
        method: 'POST',
        body: 'customer 42',
        ...parts,
        path: `/v1/call/score${parts.path ?? ''}`,
        headers: [['Prefer', 'wait=20'], ['Result-Key', '42'], ...(parts.headers ?? [['Content-Type', 'text/plain']])],
      });
    assert.equal((await ask({})).text, '1');
    assert.equal((await ask({})).text, '1');
    const others: RequestParts[] = [
      { body: 'customer 41' },
      { path: '?q=1' },
      { path: '/a' },
      { method: 'PUT' },
      { method: 'QUERY' },
      { headers: [['Content-Type', 'text/html']] },
      { headers: [] },
    ];
    const seen = new Set(['1']);
    for (const parts of others) seen.add((await ask(parts)).text);
    assert.equal(seen.size, others.length + 1, 'each was computed for itself');
    assert.equal((await ask({})).text, '1', 'and none took the place of the first');
  });
});
