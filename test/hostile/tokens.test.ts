// Read-only tokens in wrong hands: they open what they name and nothing else, cannot be changed, and are shown nowhere.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createLog } from '../../packages/server/src/lib/log.ts';
import { backendFor } from '../support/backend.ts';
import { get, post, send } from '../support/http.ts';
import { ended, submit } from '../support/operations.ts';
import type { RawResponse, RequestParts } from '../support/raw-http.ts';
import { serverFor } from '../support/server.ts';
import { assertProblem, assertUsable, underAttack, type Victim } from '../support/victim.ts';
import { leaseOne, postJson } from '../support/worker.ts';

const services = { work: { target: { pull: true } }, other: { target: { pull: true } } };
const keyed = { services, namespaces: ['alice', 'bob'] };

/** Everything of an answer that the request itself does not change. */
function comparable({ status, fields, text }: RawResponse): unknown {
  const names = fields.map(([name, value]) =>
    /^(request-id|date|content-length)$/.test(name) ? name : `${name}: ${value}`,
  );
  return { status, names, text: text.replace(/"instance":"[^"]*"/, '') };
}

async function tokenOf(victim: Victim, operations: readonly string[], namespace?: string): Promise<string> {
  const answer = await postJson(victim, '/v1/tokens', JSON.stringify({ operations }), namespace);
  assert.equal(answer.status, 200, answer.text);
  return answer.json<{ token: string }>().token;
}

async function accepted(victim: Victim, namespace?: string): Promise<string> {
  const parts = { method: 'POST', path: '/v1/call/work', body: 'ossifrage' };
  const answer = namespace === undefined ? await victim.ask(parts) : await victim.askAs(namespace, parts);
  assert.equal(answer.status, 202, answer.text);
  return answer.header('operation-id')!;
}

interface Held {
  victim: Victim;
  /** Of alice, for `mine`. */
  token: string;
  mine: string;
  /** Of alice too, and not in the token. */
  other: string;
  /** Of bob. */
  foreign: string;
}

const withToken = (t: TestContext, run: (held: Held) => Promise<void>): Promise<void> =>
  underAttack(t, keyed, async (victim) => {
    const mine = await accepted(victim, 'alice');
    const other = await accepted(victim, 'alice');
    const foreign = await accepted(victim, 'bob');
    await run({ victim, mine, other, foreign, token: await tokenOf(victim, [mine], 'alice') });
  });

test('T40: what a token does not name is the 404 of an id that never was, whether it exists or not', (t) =>
  withToken(t, ({ victim, mine, other, foreign, token }) =>
    victim.untouchedBy(async () => {
      const looks = [
        (id: string) => `/v1/operations/${id}?token=${token}`,
        (id: string) => `/v1/operations/${id}?include=result&token=${token}`,
        (id: string) => `/v1/operations/${id}/result?token=${token}`,
        (id: string) => `/v1/operations/${id}/timeline?token=${token}`,
      ];
      for (const look of looks) {
        const never = await victim.ask({ path: look(`${'0'.repeat(32)}001`) });
        assertProblem(never, 404, 'not-found');
        for (const id of [other, foreign, `${mine}0`, mine.slice(0, -1), `%30${mine.slice(1)}`, 'x'.repeat(999)])
          assert.deepEqual(comparable(await victim.ask({ path: look(id) })), comparable(never), id);
        const waiting = await victim.ask({ path: look(other), headers: [['Prefer', 'wait=50']] });
        assert.deepEqual(comparable(waiting), comparable(never), 'and nobody waits for it');
        assert.notEqual((await victim.ask({ path: look(mine) })).status, 404);
      }
    }),
  ));

test('T39: a token reads and does nothing else: 403 on every other route, whatever it names there', (t) =>
  withToken(t, async ({ victim, mine, other, token }) => {
    const at = (path: string): string => `${path}${path.includes('?') ? '&' : '?'}token=${token}`;
    const asks: readonly RequestParts[] = [
      { path: '/v1/operations' },
      { path: '/v1/operations?service=work&limit=5' },
      { method: 'DELETE', path: `/v1/operations/${mine}` },
      { method: 'DELETE', path: `/v1/operations/${mine}?purge=true` },
      { method: 'DELETE', path: `/v1/operations/${other}` },
      { path: '/v1/services' },
      { path: '/v1/services/work' },
      { method: 'PUT', path: '/v1/services/work', body: '{"target":{"pull":true}}' },
      { method: 'DELETE', path: '/v1/services/work' },
      { path: '/v1/services/work/results?key=42' },
      { path: '/v1/services/work/results/42' },
      { method: 'POST', path: '/v1/services/work/results/refresh?key=42' },
      { method: 'POST', path: '/v1/services/work/leases', body: '{}' },
      { method: 'POST', path: '/v1/batch', body: '[{"service":"work","body":"x"}]' },
      { method: 'POST', path: '/v1/tokens', body: JSON.stringify({ operations: [mine] }) },
      { path: '/v1/callback-secrets' },
      { method: 'POST', path: '/v1/callback-secrets/rotate', body: '{}' },
      { method: 'POST', path: '/v1/backup' },
      { path: '/v1/backup' },
      { path: '/metrics' },
    ];
    for (const parts of asks)
      await t.test(`${parts.method ?? 'GET'} ${parts.path!.replace(/[0-9a-f]{32}\w+/, '{id}')}`, () =>
        victim.untouchedBy(async () => {
          const json = parts.body === undefined ? [] : ([['Content-Type', 'application/json']] as const);
          const answer = await victim.ask({ ...parts, headers: json, path: at(parts.path!) });
          assertProblem(answer, 403, 'insufficient-scope');
          assert.ok(!answer.text.includes(token));
        }),
      );
    await t.test('a submit wants a key, and a token in the query is not for the backend', () =>
      victim.untouchedBy(async () => {
        for (const method of ['POST', 'GET', 'DELETE'])
          assertProblem(await victim.ask({ method, path: at('/v1/call/work') }), 401, 'unauthenticated');
        const answer = await victim.askAs('bob', { method: 'POST', path: at('/v1/call/work/a?b=c'), body: 'x' });
        assertProblem(answer, 400, 'invalid-parameter');
        const batch = JSON.stringify([{ service: 'work', query: `a=b&other=${token}`, body: 'x' }]);
        const [outcome] = (await postJson(victim, '/v1/batch', batch, 'bob')).json<{ status: number }[]>();
        assert.equal(outcome!.status, 400, 'not in a batch either');
      }),
    );
    await t.test('methods that no route has are 405, as for everybody', () =>
      victim.untouchedBy(async () => {
        for (const method of ['POST', 'PUT', 'PATCH'])
          assertProblem(await victim.ask({ method, path: at(`/v1/operations/${mine}`) }), 405, 'method-not-allowed');
      }),
    );
    await t.test('as a bearer it is no key', async () => {
      const headers = [['Authorization', `Bearer ${token}`]] as const;
      assertProblem(await victim.ask({ path: `/v1/operations/${mine}`, headers }), 401, 'unauthenticated');
    });
    await t.test('with a key beside it, of anybody: 400', () =>
      victim.untouchedBy(async () => {
        for (const namespace of ['alice', 'bob'])
          for (const path of [`/v1/operations/${mine}`, '/v1/operations', '/v1/services'])
            assertProblem(await victim.askAs(namespace, { path: at(path) }), 400, 'invalid-parameter');
      }),
    );
  }));

test('a token that was changed, cut, doubled, made up or is another name of ours is 401, and nobody is told more', (t) =>
  withToken(t, async ({ victim, mine, token }) => {
    const lease = await leaseOne(victim, 'other', { namespace: 'alice' });
    const page = await victim.askAs('alice', { path: '/v1/operations?limit=1' });
    const cursor = page.json<{ next: string }>().next;
    const [said, mac] = token.split('.') as [string, string];
    const wrong = [
      '',
      'null',
      'abc',
      said,
      mac,
      `.${mac}`,
      `${said}.`,
      `${said}.${mac.slice(0, -1)}`,
      `${said}.${mac}A`,
      `${said}..${mac}`,
      `${said}.${'A'.repeat(27)}`,
      `${said.slice(0, -1)}${said.endsWith('A') ? 'B' : 'A'}.${mac}`,
      `B${said.slice(1)}.${mac}`,
      token.toLowerCase() === token ? token.toUpperCase() : token.toLowerCase(),
      `${token}%00`,
      `${token}%0d%0aX-A:%201`,
      `%20${token}`,
      `${token}=`,
      `${token},${token}`,
      `Bearer%20${token}`,
      lease.token,
      cursor,
      `${said}.${cursor.slice(-27)}`,
      `${said}.${lease.token.slice(-27)}`,
      mine,
      victim.server.key('alice'),
      'A'.repeat(4000),
      `${'A'.repeat(4000)}.${mac}`,
      '__proto__',
      '%ff%fe',
      'eyJhbGciOiJub25lIn0.e30.',
    ];
    await victim.untouchedBy(async () => {
      for (const path of [`/v1/operations/${mine}`, `/v1/operations/${mine}/result`, '/v1/operations', '/v1/services'])
        for (const word of wrong) {
          const answer = await victim.ask({ path: `${path}?token=${word}` });
          assertProblem(answer, 401, 'invalid-token');
          assert.equal(answer.header('referrer-policy'), 'no-referrer');
          if (word.length > 4) assert.ok(!answer.text.includes(word), 'it is not repeated');
        }
      assertProblem(
        await victim.ask({ path: `/v1/operations/${mine}?token=${token}&token=x` }),
        400,
        'invalid-parameter',
      );
    });
    await t.test('neither is a token a lease token or a cursor', () =>
      victim.untouchedBy(async () => {
        for (const verb of ['reply', 'extend', 'release'])
          assertProblem(await postJson(victim, `/v1/leases/${token}/${verb}`, '{}'), 404, 'not-found');
        assertProblem(await victim.askAs('alice', { path: `/v1/operations?cursor=${token}` }), 400, 'invalid-cursor');
      }),
    );
    await t.test('one of 7 kB, and of 100 kB, which no request line is long enough for', async () => {
      const most = await victim.ask({ path: `/v1/operations/${mine}?token=${'A'.repeat(7000)}` });
      assertProblem(most, 401, 'invalid-token');
      for (const letters of [9000, 100_000]) {
        const connection = await victim.open();
        connection.send(`GET /v1/operations/${mine}?token=${'A'.repeat(letters)} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
        const answer = await connection.response();
        assert.ok(answer?.status === 414 || answer?.status === 431, `${answer?.status}`);
        connection.destroy();
      }
    });
  }));

test('T40: guessing tokens is slowed down, and who has a good one notices nothing', async (t) => {
  await underAttack(t, { services }, async (victim) => {
    const mine = await accepted(victim);
    const token = await tokenOf(victim, [mine]);
    const connection = await victim.open();
    const count = 1500;
    for (let i = 0; i < count; i++)
      connection.send(`GET /v1/operations/${mine}?token=${token}${i} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const seen = new Map<number | undefined, number>();
    for (let i = 0; i < count; i++) {
      const status = (await connection.response())?.status;
      seen.set(status, (seen.get(status) ?? 0) + 1);
    }
    assert.equal((seen.get(401) ?? 0) + (seen.get(429) ?? 0), count, 'not one was let in');
    assert.ok(seen.get(429)! > 0, 'an address has a thousand of them');
    assert.equal((await victim.ask({ path: `/v1/operations/${mine}?token=${token}` })).status, 200);
    await assertUsable(connection);
    connection.destroy();
  });
});

test('what a token is asked for: wrong bodies are refused with the field, unknown and foreign ids are one 404', (t) =>
  withToken(t, async ({ victim, mine, foreign }) => {
    const ids = (count: number): string => JSON.stringify(Array.from({ length: count }, () => mine));
    const one = `"operations":["${mine}"]`;
    const rows: readonly (readonly [body: string, status: number, code: string, words: RegExp])[] = [
      ['', 400, 'invalid-parameter', /operations/],
      ['{}', 400, 'invalid-parameter', /operations must name 1 to 100/],
      ['[]', 400, 'invalid-parameter', /object/],
      ['null', 400, 'invalid-parameter', /object/],
      ['{"operations":[]}', 400, 'invalid-parameter', /operations/],
      [`{"operations":"${mine}"}`, 400, 'invalid-parameter', /operations must be a list/],
      [`{"operations":{"0":"${mine}"}}`, 400, 'invalid-parameter', /operations must be a list/],
      [`{"operations":["${mine}",7]}`, 400, 'invalid-parameter', /operations\/1/],
      ['{"operations":[null]}', 400, 'invalid-parameter', /operations\/0/],
      [`{"operations":${ids(101)}}`, 400, 'invalid-parameter', /at most 100/],
      [`{${one},"operation":"x"}`, 400, 'unknown-field', /operation/],
      [`{${one},"namespace":"bob"}`, 400, 'unknown-field', /namespace/],
      [`{${one},"__proto__":{}}`, 400, 'forbidden-key', /__proto__/],
      [`{${one},${one}}`, 400, 'invalid-json', /twice/],
      [`{${one},"topics":[]}`, 400, 'invalid-parameter', /topics must name/],
      ['{"topics":["a"],"operations":[]}', 400, 'invalid-parameter', /operations/],
      ['{"topics":"a"}', 400, 'invalid-parameter', /topics must be a list/],
      ['{"topics":["a",7]}', 400, 'invalid-parameter', /topics\/1/],
      ['{"topics":["a..b"]}', 400, 'invalid-name', /topics/],
      ['{"topics":["**.**.**.**.**"]}', 400, 'invalid-filter', /topics/],
      [
        `{"topics":${JSON.stringify(Array.from({ length: 5 }, (_, i) => `${String(i).repeat(127)}.${'x'.repeat(127)}`))}}`,
        400,
        'invalid-parameter',
        /too much/,
      ],
      ...[
        '0',
        '-1',
        '0.5',
        '3601',
        '1e308',
        '1e999',
        '-1e308',
        '9007199254740993',
        'true',
        'null',
        '[]',
        '{}',
        '""',
        '"15"',
        '"1h1s"',
        '"61m"',
        '"2h"',
        '"-5m"',
        '"0s"',
        '"999ms"',
        '"1d"',
        '"99999999999999999h"',
        '"Infinity"',
        '"NaN"',
        '"2030-01-01T00:00:00Z"',
      ].map((value) => [`{${one},"expiresIn":${value}}`, 400, 'invalid-parameter', /expiresIn must be/] as const),
    ];
    await victim.untouchedBy(async () => {
      for (const [body, status, code, words] of rows) {
        const answer = await postJson(victim, '/v1/tokens', body, 'alice');
        assertProblem(answer, status, code);
        assert.match(answer.json<{ detail: string }>().detail, words, body);
      }
      const text = { method: 'POST', path: '/v1/tokens', headers: [['Content-Type', 'text/plain']] as const };
      assertProblem(await victim.askAs('alice', { ...text, body: `{${one}}` }), 415, 'unsupported-media-type');
      assertProblem(await postJson(victim, '/v1/tokens', `{${one}}`), 401, 'unauthenticated');
      for (const value of ['1', '3600', '"1s"', '"1h"', '"3600000ms"', '1.5'])
        assert.equal((await postJson(victim, '/v1/tokens', `{${one},"expiresIn":${value}}`, 'alice')).status, 200);
      assert.equal((await postJson(victim, '/v1/tokens', `{"operations":${ids(100)}}`, 'alice')).status, 200);

      const never = await postJson(victim, '/v1/tokens', `{"operations":["${mine}","${'0'.repeat(32)}001"]}`, 'alice');
      assertProblem(never, 404, 'not-found');
      assert.match(never.json<{ detail: string }>().detail, /^\/operations\/1/);
      for (const id of [foreign, 'x', '', '__proto__', mine.toUpperCase(), `${mine}0`, 'y'.repeat(5000)]) {
        const answer = await postJson(victim, '/v1/tokens', JSON.stringify({ operations: [mine, id] }), 'alice');
        assert.deepEqual(comparable(answer), comparable(never), id.slice(0, 50));
      }
    });
  }));

test('a hundred operations of the longest namespace are a token that fits into a URL', async (t) => {
  const namespace = 'n'.repeat(128);
  const server = await serverFor(t, { services, namespaces: [namespace] });
  const key = server.key(namespace);
  const made = [];
  for (let i = 0; i < 100; i++) made.push(await submit(server.url, 'work', { body: `${i}`, key }));
  const answer = await post(`${server.url}/v1/tokens`, { body: { operations: made.map(({ id }) => id) }, key });
  const { token } = answer.json<{ token: string }>();
  assert.ok(token.length < 4096, `${token.length}`);
  for (const { status } of made) assert.equal((await get(`${status}?token=${token}`)).status, 200);
});

test('without keys a token is what it is with them, and what is none is refused all the same', async (t) => {
  await underAttack(t, { services }, async (victim) => {
    const mine = await accepted(victim);
    const other = await accepted(victim);
    const token = await tokenOf(victim, [mine]);
    await victim.untouchedBy(async () => {
      const at = (path: string, word = token): string => `${path}?token=${word}`;
      assert.equal((await victim.ask({ path: at(`/v1/operations/${mine}`) })).status, 200);
      assertProblem(await victim.ask({ path: at(`/v1/operations/${other}`) }), 404, 'not-found');
      assertProblem(await victim.ask({ path: at('/v1/operations') }), 403, 'insufficient-scope');
      assertProblem(
        await victim.ask({ method: 'DELETE', path: at(`/v1/operations/${mine}`) }),
        403,
        'insufficient-scope',
      );
      assertProblem(
        await victim.ask({ method: 'DELETE', path: at(`/v1/operations/${mine}`, 'x') }),
        401,
        'invalid-token',
      );
      assertProblem(await victim.ask({ path: at(`/v1/operations/${mine}`, 'x') }), 401, 'invalid-token');
      const withKey = [['Authorization', 'Bearer anything']] as const;
      assertProblem(
        await victim.ask({ path: at(`/v1/operations/${mine}`), headers: withKey }),
        400,
        'invalid-parameter',
      );
      assertProblem(
        await victim.ask({ method: 'POST', path: at('/v1/call/work'), body: 'x' }),
        400,
        'invalid-parameter',
      );
      // A page of another origin is refused as without a token: --cors-origin lets it in.
      const origin = [['Origin', 'https://evil.example']] as const;
      assertProblem(
        await victim.ask({ path: at(`/v1/operations/${mine}`), headers: origin }),
        403,
        'origin-not-allowed',
      );
    });
  });
});

test('T45: a token is in no log line, no problem document and no request to a backend, at the most talkative level', async (t) => {
  const backend = await backendFor(t, () => ({ body: 'done' }));
  const lines: string[] = [];
  const log = createLog('debug', { write: (line) => void lines.push(line) });
  const server = await serverFor(t, {
    services: { score: { target: { url: backend.url } } },
    namespaces: ['alice'],
    extras: { log },
  });
  const key = server.key('alice');
  const operation = await submit(server.url, 'score', { path: '/a?token=its-own&b=token.of.its', body: 'x', key });
  await ended(operation.status, { key });
  const made = await post(`${server.url}/v1/tokens`, { body: { operations: [operation.id] }, key });
  const { token } = made.json<{ token: string }>();
  const [said, mac] = token.split('.') as [string, string];
  const answers = [];
  for (const [method, path] of [
    ['GET', `/v1/operations/${operation.id}`],
    ['GET', `/v1/operations/${operation.id}/result`],
    ['HEAD', `/v1/operations/${operation.id}/result`],
    ['GET', `/v1/operations/${operation.id}/timeline`],
    ['DELETE', `/v1/operations/${operation.id}`],
    ['GET', '/v1/operations'],
    ['GET', '/v1/nowhere'],
    ['PATCH', '/v1/operations'],
    ['POST', '/v1/call/score'],
    ['POST', '/v1/call/nobody'],
    ['GET', '/'],
  ] as const) {
    for (const word of [token, `${said}.A${mac.slice(1)}`])
      for (const credential of [{}, { key }])
        answers.push(await send(`${server.url}${path}?token=${word}`, { method, ...credential }));
  }
  for (const { text, rawHeaders } of answers)
    assert.ok(!`${text}${rawHeaders.join()}`.includes(said), 'no answer repeats it');
  await server.stop();
  assert.ok(
    lines.some((line) => line.includes(operation.id)),
    'the log is awake',
  );
  assert.ok(!lines.join('').includes(said) && !lines.join('').includes(mac), 'no line of the log has it');
  const seen = backend.requests.map(({ target, rawHeaders }) => `${target} ${rawHeaders.join()}`);
  assert.ok(seen[0]!.startsWith('/a?token=its-own&b=token.of.its '), "a token of the backend's own is the backend's");
  assert.ok(!seen.join().includes(mac), 'and ours is not');
});
