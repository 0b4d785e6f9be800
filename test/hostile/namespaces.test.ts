// Keys and namespaces: who has no key learns nothing, who has one learns nothing of others, and no answer tells what exists elsewhere.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { backendFor } from '../support/backend.ts';
import type { RawResponse, RequestParts } from '../support/raw-http.ts';
import { assertProblem, underAttack, type Victim } from '../support/victim.ts';
import { leaseOne, postJson } from '../support/worker.ts';

const settings = {
  services: { work: { target: { pull: true } }, other: { target: { pull: true } } },
  namespaces: ['alice', 'bob'],
};

/** Everything of an answer that the request itself does not change. */
function comparable({ status, fields, text }: RawResponse): unknown {
  const names = fields.map(([name, value]) =>
    /^(request-id|date|content-length)$/.test(name) ? name : `${name}: ${value}`,
  );
  return { status, names, text: text.replace(/"instance":"[^"]*"/, '') };
}

interface Owned {
  victim: Victim;
  queued: string;
  finished: string;
  /** Of a lease that is held. */
  token: string;
  running: string;
}

/** Three operations of alice: one queued, one under a lease, one finished. */
async function withOperations(t: TestContext, run: (owned: Owned) => Promise<void>): Promise<void> {
  await underAttack(t, settings, async (victim) => {
    const done = await leaseOne(victim, 'work', { namespace: 'alice' });
    const replied = await victim.ask({
      method: 'POST',
      path: `/v1/leases/${done.token}/reply`,
      body: 'ossifrage result',
    });
    assert.equal(replied.status, 200, replied.text);
    const held = await leaseOne(victim, 'work', { namespace: 'alice' });
    const queued = await victim.askAs('alice', {
      method: 'POST',
      path: '/v1/call/work',
      headers: [
        ['Correlation-Id', 'ossifrage-correlation'],
        ['Operation-Labels', 'customer=42'],
        ['Idempotency-Key', 'shared-key'],
      ],
      body: 'ossifrage body',
    });
    await run({
      victim,
      queued: queued.header('operation-id')!,
      finished: done.operation.id,
      running: held.operation.id,
      token: held.token,
    });
  });
}

test('T36: whoever has no good key gets one and the same 401, whatever is wrong with theirs and wherever they knock', (t) =>
  withOperations(t, async ({ victim, queued, finished }) => {
    const key = victim.server.key('alice');
    const credentials: readonly (readonly [what: string, headers: [string, string][]])[] = [
      ['an empty field', [['Authorization', '']]],
      ['the scheme alone', [['Authorization', 'Bearer']]],
      ['the scheme and a space', [['Authorization', 'Bearer ']]],
      ['the key without a scheme', [['Authorization', key]]],
      ['another scheme', [['Authorization', `Token ${key}`]]],
      ['Basic', [['Authorization', `Basic ${Buffer.from(`alice:${key}`).toString('base64')}`]]],
      ['two keys in one field', [['Authorization', `Bearer ${key}, Bearer ${key}`]]],
      ['a key with a space in it', [['Authorization', `Bearer ${key.slice(0, 8)} ${key.slice(8)}`]]],
      ['a key with a byte above 127', [['Authorization', `Bearer ${key}\xe9`]]],
      ['a key cut short', [['Authorization', `Bearer ${key.slice(0, -1)}`]]],
      ['a key with one character more', [['Authorization', `Bearer ${key}A`]]],
      ['a key in other letters', [['Authorization', `Bearer ${key.toUpperCase()}0`]]],
      ['a key of 10 kB', [['Authorization', `Bearer ${'k'.repeat(10_000)}`]]],
      ['a key nobody has', [['Authorization', `Bearer ${'A'.repeat(key.length)}`]]],
      [
        'the hash that the key file holds',
        [['Authorization', `Bearer ${createHash('sha256').update(key).digest('hex')}`]],
      ],
      ['the key in another field', [['X-Api-Key', key]]],
      ['the key as a cookie', [['Cookie', `key=${key}`]]],
      ['the name of a namespace', [['Authorization', 'Bearer alice']]],
    ];
    const routes: readonly RequestParts[] = [
      { method: 'POST', path: '/v1/call/work', body: 'x' },
      { method: 'GET', path: '/v1/call/nobody' },
      { path: '/v1/operations' },
      { path: `/v1/operations/${queued}` },
      { path: `/v1/operations/${'0'.repeat(32)}001` },
      { path: `/v1/operations/${finished}/result` },
      { path: `/v1/operations/${finished}/timeline` },
      { method: 'DELETE', path: `/v1/operations/${queued}` },
      { method: 'DELETE', path: `/v1/operations/${finished}?purge=true` },
      { path: '/v1/services' },
      { method: 'POST', path: '/v1/services/work/leases', headers: [['Content-Type', 'application/json']], body: '{}' },
      { path: '/metrics' },
      { path: '/v1/stream' },
    ];
    const expected = comparable(await victim.ask({ path: '/v1/operations' }));
    for (const parts of routes) {
      await t.test(`${parts.method ?? 'GET'} ${parts.path!.replace(/[0-9a-f]{32}\w+/, '{id}')}`, () =>
        victim.untouchedBy(async () => {
          for (const [what, headers] of [['no key', []] as const, ...credentials]) {
            const answer = await victim.ask({ ...parts, headers: [...(parts.headers ?? []), ...headers] });
            assertProblem(answer, 401, 'unauthenticated');
            assert.deepEqual(comparable(answer), expected, what);
          }
        }),
      );
    }
    await t.test('T45: a key in the query is no key', () =>
      victim.untouchedBy(async () => {
        for (const name of ['key', 'api_key', 'apikey', 'access_token', 'authorization'])
          assertProblem(await victim.ask({ path: `/v1/operations?${name}=${key}` }), 401, 'unauthenticated');
        assertProblem(await victim.ask({ path: `/v1/operations?token=${key}` }), 401, 'invalid-token');
      }),
    );
    await t.test('T19: 401 comes before the body, and before any 100', () =>
      victim.untouchedBy(async () => {
        const connection = await victim.open();
        connection.send(
          'POST /v1/call/work HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n',
        );
        assertProblem(await connection.response(), 401, 'unauthenticated');
        assert.deepEqual(connection.interim, []);
        connection.destroy();
      }),
    );
    await t.test('what is open to all shows nothing of anybody', async () => {
      for (const path of [
        '/livez',
        '/readyz',
        '/openapi.json',
        '/asyncapi.json',
        '/',
        '/style.css',
        '/problems/not-found',
      ]) {
        const answer = await victim.ask({ path });
        assert.equal(answer.status, 200, path);
        for (const secret of [queued, finished, 'ossifrage', key]) assert.ok(!answer.text.includes(secret), path);
      }
    });
    assert.equal((await victim.askAs('alice', { path: '/v1/operations' })).status, 200, 'a good key still is one');
  }));

test('T40: ids of another namespace, mistyped and guessed ones are the same 404 as one that never was', (t) =>
  withOperations(t, async ({ victim, queued, finished, running, token }) => {
    const unknown = `${'0'.repeat(32)}001`;
    const last = (id: string): string => id.slice(0, -1);
    const ids = [
      queued,
      finished,
      running,
      last(queued),
      `${queued}0`,
      queued.toUpperCase().replace(/^[0-9]+$/, 'A'),
      `${queued.slice(0, 34)}0${queued.slice(34)}`,
      `${queued.slice(0, 32)}01${queued.slice(34)}`,
      `${queued.slice(0, 32)}zz${queued.slice(34)}`,
      `${queued.slice(0, 34)}zzzzzzzzzzz`,
      `${queued.slice(0, 34)}-1`,
      `${'f'.repeat(32)}${queued.slice(32)}`,
      `${finished.slice(0, 32)}${queued.slice(32)}`,
      '0',
      '-1',
      'null',
      '1 OR 1=1'.replaceAll(' ', '%20'),
      'x'.repeat(5000),
      token,
      '__proto__',
    ];
    const asks: readonly ((id: string) => RequestParts)[] = [
      (id) => ({ path: `/v1/operations/${id}` }),
      (id) => ({
        path: `/v1/operations/${id}`,
        headers: [
          ['Prefer', 'wait=50'],
          ['If-None-Match', 'W/"1"'],
        ],
      }),
      (id) => ({ path: `/v1/operations/${id}/result` }),
      (id) => ({ path: `/v1/operations/${id}/result?envelope=json`, headers: [['Prefer', 'wait=50']] }),
      (id) => ({ path: `/v1/operations/${id}/timeline` }),
      (id) => ({ method: 'DELETE', path: `/v1/operations/${id}` }),
      (id) => ({ method: 'DELETE', path: `/v1/operations/${id}?purge=true` }),
    ];
    for (const ask of asks) {
      const { method = 'GET', path } = ask('{id}');
      await t.test(`${method} ${path}`, () =>
        victim.untouchedBy(async () => {
          const never = await victim.askAs('bob', ask(unknown));
          assertProblem(never, 404, 'not-found');
          for (const id of ids) {
            const answer = await victim.askAs('bob', ask(id));
            assert.deepEqual(comparable(answer), comparable(never), id.slice(0, 60));
          }
        }),
      );
    }
    await t.test('two thousand guesses at the random part of a known number hit nothing, and are slowed down', () =>
      victim.untouchedBy(async () => {
        const connection = await victim.open();
        for (let i = 0; i < 2000; i++) {
          const guess = i.toString(16).padStart(32, '0') + queued.slice(32);
          connection.send(
            `GET /v1/operations/${guess} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${victim.server.key('alice')}\r\n\r\n`,
          );
        }
        const seen = new Map<number | undefined, number>();
        for (let i = 0; i < 2000; i++) {
          const status = (await connection.response())?.status;
          seen.set(status, (seen.get(status) ?? 0) + 1);
        }
        assert.equal((seen.get(404) ?? 0) + (seen.get(429) ?? 0), 2000, 'nothing else is told of a guess');
        assert.ok(seen.get(429)! > 0, 'an address has a thousand of them');
        connection.destroy();
      }),
    );
  }));

test('T40, T41: a lease token opens its own lease to whoever holds it, and nothing to a key of another namespace', (t) =>
  withOperations(t, async ({ victim, token }) => {
    const verbs: readonly (readonly [verb: string, body: string])[] = [
      ['reply', '{"stolen":true}'],
      ['fail', '{"code":"c","message":"m"}'],
      ['extend', '{"leaseSeconds":1}'],
      ['progress', '{"percent":50}'],
      ['release', '{}'],
    ];
    const swapped = token.slice(0, -1) + (token.endsWith('A') ? 'B' : 'A');
    const parts = token.split('-');
    const forged = [
      swapped,
      token.slice(0, -1),
      `${token}A`,
      token.toUpperCase(),
      [...parts.slice(0, 3), '2', ...parts.slice(4)].join('-'),
      [parts[0], '1', ...parts.slice(2)].join('-'),
      'none',
      'A',
      '0-0-0-0-AAAAAAAAAAAAAAAAAAAAAAAAAAA',
      'x'.repeat(5000),
    ];
    for (const [verb, body] of verbs) {
      const at = (name: string): string => `/v1/leases/${name}/${verb}`;
      await t.test(`${verb}: with a key of another namespace it is the 404 of a token that was never issued`, () =>
        victim.untouchedBy(async () => {
          const never = await postJson(victim, at(swapped), body, 'bob');
          assertProblem(never, 404, 'not-found');
          assert.deepEqual(comparable(await postJson(victim, at(token), body, 'bob')), comparable(never));
        }),
      );
      await t.test(`${verb}: with a key that is none it is 401`, () =>
        victim.untouchedBy(async () => {
          const answer = await victim.ask({
            method: 'POST',
            path: at(token),
            headers: [
              ['Content-Type', 'application/json'],
              ['Authorization', 'Bearer nobody'],
            ],
            body,
          });
          assertProblem(answer, 401, 'unauthenticated');
        }),
      );
      await t.test(`${verb}: a token that was never issued is 404`, () =>
        victim.untouchedBy(async () => {
          for (const name of forged) assertProblem(await postJson(victim, at(name), body), 404, 'not-found');
        }),
      );
    }
    await t.test('settle: a token of another namespace is 404 in its place', () =>
      victim.untouchedBy(async () => {
        const answer = await postJson(
          victim,
          '/v1/services/work/leases',
          `{"settle":[{"token":"${token}","reply":{}},{"token":"${swapped}","reply":{}}]}`,
          'bob',
        );
        const { settled } = answer.json<{ settled: unknown[] }>();
        assert.deepEqual(settled[0], settled[1]);
        assert.equal((settled[0] as { status: number }).status, 404);
      }),
    );
  }));

test('T41: a lease that has ended is told apart from one that never was: 409, and nothing changes', async (t) => {
  await underAttack(t, settings, async (victim) => {
    const namespace = 'alice';
    const post = (token: string, verb: string, body: string) => postJson(victim, `/v1/leases/${token}/${verb}`, body);

    const released = await leaseOne(victim, 'work', { namespace });
    assert.equal((await post(released.token, 'release', '{}')).status, 200);
    const taken = await postJson(victim, '/v1/services/work/leases', '{"leaseSeconds":300}', namespace);
    const [second] = taken.json<{ leases: { token: string; operation: { id: string } }[] }>().leases;
    assert.equal(second!.operation.id, released.operation.id, 'another worker has it now');
    await victim.untouchedBy(async () => {
      for (const [verb, body] of [
        ['reply', '{}'],
        ['fail', '{"code":"c","message":"m"}'],
        ['extend', '{}'],
        ['progress', '{"percent":1}'],
        ['release', '{}'],
      ] as const)
        assertProblem(await post(released.token, verb, body), 409, 'lease-lost');
    });

    assert.equal((await post(second!.token, 'reply', '{"first":1}')).status, 200);
    await victim.untouchedBy(async () => {
      assert.equal((await post(second!.token, 'reply', '{"first":1}')).status, 200, 'the same reply again');
      assertProblem(await post(second!.token, 'reply', '{"second":2}'), 409, 'result-already-recorded');
      assertProblem(await post(second!.token, 'fail', '{"code":"c","message":"m"}'), 409, 'result-already-recorded');
      assertProblem(await post(second!.token, 'extend', '{}'), 409, 'already-terminal');
    });

    const cancelled = await leaseOne(victim, 'work', { namespace });
    const answer = await victim.askAs(namespace, {
      method: 'DELETE',
      path: `/v1/operations/${cancelled.operation.id}`,
    });
    assert.equal(answer.json<{ status: string }>().status, 'cancelled');
    await victim.untouchedBy(async () => {
      for (const [verb, body] of [
        ['reply', '{}'],
        ['extend', '{}'],
        ['progress', '{"percent":1}'],
      ] as const)
        assertProblem(await post(cancelled.token, verb, body), 409, 'cancelled');
    });
  });
});

test('T42: one idempotency key in two namespaces is two keys', (t) =>
  withOperations(t, async ({ victim, queued }) => {
    const submit = (namespace: string, body: string) =>
      victim.askAs(namespace, {
        method: 'POST',
        path: '/v1/call/work',
        headers: [['Idempotency-Key', 'shared-key']],
        body,
      });
    const own = await submit('bob', 'another body');
    assert.equal(own.status, 202, own.text);
    assert.notEqual(own.header('operation-id'), queued);
    assert.equal(own.header('idempotent-replayed'), undefined);
    const again = await submit('alice', 'ossifrage body');
    assert.equal(again.header('operation-id'), queued);
  }));

test('T43: a namespace comes from the key alone, whatever a header says', (t) =>
  withOperations(t, async ({ victim, queued }) => {
    for (const name of [
      'X-Namespace',
      'Namespace',
      'X-Tenant-Id',
      'Tenant',
      'Waitless-Namespace',
      'X-Forwarded-User',
    ]) {
      const answer = await victim.askAs('bob', { path: `/v1/operations/${queued}`, headers: [[name, 'alice']] });
      assertProblem(answer, 404, 'not-found');
    }
    for (const query of ['?namespace=alice', '?tenant=alice'])
      assertProblem(await victim.askAs('bob', { path: `/v1/operations${query}` }), 400, 'invalid-parameter');
  }));

test('T44: lists, counts and leases show a namespace its own', (t) =>
  withOperations(t, async ({ victim, queued, finished }) => {
    for (const query of [
      '',
      '?service=work',
      '?status=queued,running,succeeded,failed,cancelled',
      '?correlationId=ossifrage-correlation',
      `?correlationId=${queued}`,
      `?correlationId=${finished}`,
      '?label.customer=42',
      '?createdAfter=2000-01-01T00:00:00Z',
      '?limit=1000',
    ]) {
      const answer = await victim.askAs('bob', { path: `/v1/operations${query}` });
      assert.equal(answer.status, 200, answer.text);
      const { items, next } = answer.json<{ items: { service: string }[]; next: unknown }>();
      assert.deepEqual([items, next], [[], null], query);
    }
    assert.equal(
      (await victim.askAs('alice', { path: '/v1/operations?correlationId=ossifrage-correlation' })).json<{
        items: unknown[];
      }>().items.length,
      1,
    );
    const correlation = (text: string) => victim.askAs('alice', { path: `/v1/operations?correlationId=${text}` });
    for (const other of [
      'Ossifrage-Correlation',
      'ossifrage-correlation%20',
      'ossifrage-correlatio%25',
      'ossifrage%',
      'o_sifrage-correlation',
    ]) {
      const answer = await correlation(other);
      if (other.endsWith('%')) assertProblem(answer, 400, 'invalid-parameter');
      else assert.deepEqual(answer.json()['items'], [], `T31: ${other} is another id, byte for byte`);
    }
    const services = (await victim.askAs('bob', { path: '/v1/services' })).json<{
      items: { name: string; counts: Record<string, number> }[];
    }>();
    for (const { name, counts } of services.items)
      assert.deepEqual(
        Object.values(counts).reduce((a, b) => a + b, 0),
        0,
        name,
      );
    const leased = await postJson(victim, '/v1/services/work/leases', '{"max":1000}', 'bob');
    assert.deepEqual(leased.json()['leases'], [], 'a worker of another namespace is handed nothing');
  }));

test('T44: a request that nobody keeps is handed to workers of its own namespace alone', async (t) => {
  await underAttack(t, settings, async (victim) => {
    const sent = await victim.askAs('alice', {
      method: 'POST',
      path: '/v1/call/other',
      headers: [['Operation-Durability', 'none']],
      body: 'secret and forgotten',
    });
    assert.equal(sent.status, 202, sent.text);
    const foreign = await postJson(victim, '/v1/services/other/leases', '{"max":1000}', 'bob');
    assert.deepEqual(foreign.json()['leases'], []);
    const own = await postJson(victim, '/v1/services/other/leases', '{"max":1000}', 'alice');
    assert.equal(own.json<{ leases: unknown[] }>().leases.length, 1);
  });
});

test('T44: a cursor that is not one of ours, or not of this namespace, gets 400 invalid-cursor', (t) =>
  withOperations(t, async ({ victim }) => {
    const first = await victim.askAs('alice', { path: '/v1/operations?limit=1' });
    const { next } = first.json<{ next: string }>();
    const second = await victim.askAs('alice', { path: `/v1/operations?limit=1&cursor=${next}` });
    assert.equal(second.status, 200, second.text);
    assert.notDeepEqual(second.json()['items'], first.json()['items']);
    const decoded = Buffer.from(next, 'base64url').toString('latin1');
    const encode = (text: string): string => Buffer.from(text).toString('base64url');
    const flip = next.slice(0, -1) + (next.endsWith('A') ? 'B' : 'A');
    const wrong: readonly (readonly [what: string, cursor: string])[] = [
      ['empty', ''],
      ['text', 'abc'],
      ['a number', '5'],
      ['not base64', '%25%25'],
      ['cut short', next.slice(0, -1)],
      ['longer', `${next}A`],
      ['one character changed', flip],
      ['another position', encode(decoded.replace(/\d+/g, '1'))],
      ['another position, in digits', next.replace(/^[0-9a-z]+/, (at) => (at === '1' ? '2' : '1'))],
      ['a position far ahead', encode('1.9007199254740993')],
      ['a negative position', encode('1.-5')],
      ['SQL', encode("1.5'; drop table operation; --")],
      ['of 8 kB', 'A'.repeat(8000)],
    ];
    for (const [what, cursor] of wrong) {
      await t.test(`a cursor that is ${what}`, async () =>
        assertProblem(await victim.askAs('alice', { path: `/v1/operations?cursor=${cursor}` }), 400, 'invalid-cursor'),
      );
    }
    await t.test('the cursor of another namespace', async () =>
      assertProblem(await victim.askAs('bob', { path: `/v1/operations?cursor=${next}` }), 400, 'invalid-cursor'),
    );
  }));

test('T29, T44: filters that are wrong are refused, none is left out in silence', (t) =>
  withOperations(t, async ({ victim }) => {
    const rows: readonly (readonly [query: string, code: string])[] = [
      ['status=done', 'invalid-parameter'],
      ['status=', 'invalid-parameter'],
      ['status=queued,', 'invalid-parameter'],
      ['status=QUEUED', 'invalid-parameter'],
      ['limit=0', 'invalid-parameter'],
      ['limit=-1', 'invalid-parameter'],
      ['limit=1001', 'invalid-parameter'],
      ['limit=1e2', 'invalid-parameter'],
      ['limit=', 'invalid-parameter'],
      ['limit=9007199254740993', 'invalid-parameter'],
      ['createdAfter=yesterday', 'invalid-parameter'],
      ['createdAfter=2026-02-30', 'invalid-parameter'],
      ['createdBefore=2026-13-01T00:00:00Z', 'invalid-parameter'],
      ['createdBefore=1e12', 'invalid-parameter'],
      ['service=a&service=b', 'invalid-parameter'],
      ['tenantId=bob', 'invalid-parameter'],
      ['Service=work', 'invalid-parameter'],
      ['service=%ff', 'invalid-parameter'],
      ['service=%', 'invalid-parameter'],
      ['service=../../etc', 'invalid-name'],
      ['service=', 'invalid-name'],
      ['service=a%00b', 'invalid-name'],
      ["service=';drop%20table%20operation;--", 'invalid-name'],
      ['label.=x', 'invalid-name'],
      ['label.__proto__=x', 'invalid-name'],
      ['label.a%22b=x', 'invalid-name'],
      [`label.${'a'.repeat(129)}=x`, 'invalid-name'],
      ['__proto__=x', 'invalid-parameter'],
    ];
    for (const [query, code] of rows) {
      await t.test(`?${query.slice(0, 60)} gets 400 ${code}`, async () =>
        assertProblem(await victim.askAs('alice', { path: `/v1/operations?${query}` }), 400, code),
      );
    }
    for (const [what, value] of [
      ['a regular expression', '(a%2B)%2B%24'],
      ['wildcards of SQL', '%25_%25'],
      ['4 kB of one letter', 'a'.repeat(4000)],
      ['quotes', '%27%22%60'],
      ['NUL', 'a%00b'],
    ]) {
      await t.test(`${what} as a label or correlation id is compared byte by byte and matches nothing`, async () => {
        for (const name of ['label.customer', 'correlationId']) {
          const answer = await victim.askAs('alice', { path: `/v1/operations?${name}=${value}` });
          assert.equal(answer.status, 200, answer.text);
          assert.deepEqual(answer.json()['items'], []);
        }
      });
    }
    const constructor = await victim.askAs('alice', { path: '/v1/operations?label.constructor=x' });
    assert.deepEqual(constructor.json()['items'], []);
  }));

test('T43: a push backend is told of nobody’s namespace, and its reply URL works without a key', async (t) => {
  const backend = await backendFor(t, () => ({ status: 202 }));
  await underAttack(
    t,
    { services: { push: { target: { url: backend.url } } }, namespaces: ['alice', 'bob'] },
    async (victim) => {
      const accepted = await victim.askAs('alice', { method: 'POST', path: '/v1/call/push', body: 'x' });
      const [request] = await backend.received(1);
      assert.equal(request!.headers['authorization'], undefined);
      const { pathname } = new URL(request!.headers['operation-reply-url']!);
      assertProblem(await victim.askAs('bob', { method: 'POST', path: pathname, body: 'stolen' }), 404, 'not-found');
      assert.equal((await victim.ask({ method: 'POST', path: pathname, body: 'mine' })).status, 200);
      const result = await victim.askAs('alice', {
        path: `/v1/operations/${accepted.header('operation-id')}/result`,
        headers: [['Prefer', 'wait=30']],
      });
      assert.equal(result.text, 'mine');
    },
  );
});

test('T46: who tries one key after the other has to wait; one wrong key sent again and again, no key, and a proven key do not', async (t) => {
  await underAttack(t, settings, async (victim) => {
    const ask = (key: string) => victim.ask({ path: '/v1/operations', headers: [['Authorization', `Bearer ${key}`]] });
    assert.equal((await victim.askAs('alice', { path: '/v1/operations' })).status, 200);
    for (let i = 0; i < 100; i++) assertProblem(await ask('the-same-old-key'), 401, 'unauthenticated');
    await victim.untouchedBy(async () => {
      let refused: RawResponse | undefined;
      for (let i = 0; refused === undefined && i < 100; i++) {
        const answer = await ask(`guess-${i}`);
        if (answer.status === 429) refused = answer;
        else assertProblem(answer, 401, 'unauthenticated');
      }
      assertProblem(refused ?? null, 429, 'rate-limited');
      assertProblem(await victim.ask({ path: '/v1/operations' }), 401, 'unauthenticated');
      assert.equal((await victim.askAs('alice', { path: '/v1/operations' })).status, 200, 'a proven key works on');
    });
  });
});
