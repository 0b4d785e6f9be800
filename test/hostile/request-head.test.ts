// Request lines and header blocks that parse, but mean two things or reach for what is not served: each gets its problem, before anything is routed or stored.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RequestParts } from '../support/raw-http.ts';
import { requestBytes } from '../support/raw-http.ts';
import { assertClosed, assertProblem, assertUsable, underAttack } from '../support/victim.ts';

interface Row {
  row: string;
  what: string;
  parts: RequestParts;
  status: number;
  code: string;
  /** The server closes after the answer; otherwise the next request on the same connection is served. */
  closes?: true;
}

const submit = (parts: RequestParts): RequestParts => ({ method: 'POST', path: '/v1/call/work', body: 'x', ...parts });
const path = (row: string, target: string): Row => ({
  row,
  what: `the path ${target.length > 60 ? `${target.slice(0, 60)}…` : target}`,
  parts: submit({ path: target }),
  status: 400,
  code: 'bad-path',
});
const twice = (name: string, first: string, second: string): Row => ({
  row: 'T13',
  what: `${name} twice`,
  parts: submit({
    headers: [
      [name, first],
      [name.toLowerCase(), second],
    ],
  }),
  status: 400,
  code: 'duplicate-header',
});
const manyHeaders = (count: number): Row => ({
  row: 'T8',
  what: `${count} headers`,
  parts: submit({ headers: Array.from({ length: count }, (): [string, string] => ['a', 'b']) }),
  status: 431,
  code: 'too-many-headers',
  closes: true,
});

const rows: readonly Row[] = [
  {
    row: 'T6',
    what: 'a second Host',
    parts: submit({ headers: [['Host', 'localhost']] }),
    status: 400,
    code: 'bad-host',
  },
  {
    row: 'T6',
    what: 'a second, different Host',
    parts: submit({ headers: [['hOST', 'evil.example']] }),
    status: 400,
    code: 'bad-host',
  },
  { row: 'T7', what: 'no Host', parts: submit({ host: null }), status: 400, code: 'bad-host' },
  { row: 'T7', what: 'an empty Host', parts: submit({ host: '' }), status: 400, code: 'bad-host' },
  manyHeaders(100),
  manyHeaders(1500),
  manyHeaders(2500),
  {
    row: 'T10',
    what: 'an absolute-form target of another host',
    parts: submit({ path: 'http://evil.example/v1/call/work' }),
    status: 400,
    code: 'bad-request-target',
  },
  {
    row: 'T10',
    what: 'an absolute-form target of this host',
    parts: submit({ path: 'http://localhost/v1/call/work' }),
    status: 400,
    code: 'bad-request-target',
  },
  {
    row: 'T10',
    what: 'the asterisk-form',
    parts: { method: 'OPTIONS', path: '*' },
    status: 400,
    code: 'bad-request-target',
  },
  {
    row: 'T11',
    what: 'TRACE',
    parts: { method: 'TRACE', path: '/v1/call/work' },
    status: 405,
    code: 'method-not-allowed',
  },
  {
    row: 'T11',
    what: 'a method of WebDAV on a list',
    parts: { method: 'PROPFIND', path: '/v1/operations' },
    status: 405,
    code: 'method-not-allowed',
  },
  {
    row: 'T11',
    what: 'POST on a list',
    parts: { method: 'POST', path: '/v1/operations', body: '{}' },
    status: 405,
    code: 'method-not-allowed',
  },
  path('T12', '/v1/call/work/%00'),
  path('T12', '/v1/call/work/a%00b'),
  path('T12', '/v1/call/work/../../admin'),
  path('T12', '/v1/call/work/.'),
  path('T12', '/v1/call/work/..'),
  path('T12', '/v1/call/work/%2e%2e%2fadmin'),
  path('T12', '/v1/call/work/%2e%2e/admin'),
  path('T12', '/v1/call/work/%2E./admin'),
  path('T12', '/v1/call/work/a%2f..%2fadmin'),
  path('T12', '/v1/call/work//admin'),
  path('T12', '//v1/call/work'),
  path('T12', '/v1/call/work/\\admin'),
  path('T12', '/v1/call/work/%5cadmin'),
  path('T12', '/v1/call/work/%5C..%5Cadmin'),
  path('T12', '/v1/call/work/%c0%ae%c0%ae/admin'),
  path('T12', '/v1/call/work/%e0%80%af'),
  path('T12', '/v1/call/work/%f8%80%80%80%af'),
  path('T12', '/v1/call/work/%ed%a0%80'),
  path('T12', '/v1/call/work/%ff'),
  path('T12', '/v1/call/work/%'),
  path('T12', '/v1/call/work/%zz'),
  path('T12', '/v1/call/work/%u002e'),
  path('T12', '/v1/call/work/#fragment'),
  {
    row: 'T12',
    what: 'a request target of 10 kB',
    parts: submit({ path: `/v1/call/work/${'a'.repeat(10_000)}` }),
    status: 414,
    code: 'uri-too-long',
  },
  {
    row: 'T12',
    what: 'a query of 10 kB',
    parts: submit({ path: `/v1/call/work?${'a'.repeat(10_000)}` }),
    status: 414,
    code: 'uri-too-long',
  },
  {
    row: 'T12',
    what: 'a route with a letter percent-encoded, which is another path to whoever does not decode',
    parts: submit({ path: '/v1/%63all/work' }),
    status: 404,
    code: 'not-found',
  },
  {
    row: 'T12',
    what: 'a path that no route has',
    parts: submit({ path: '/v1/nothing/here' }),
    status: 404,
    code: 'not-found',
  },
  twice('Authorization', 'Bearer a', 'Bearer b'),
  twice('Authorization', 'Bearer a', 'Bearer a'),
  twice('Idempotency-Key', 'a', 'b'),
  twice('Content-Type', 'text/plain', 'application/json'),
  twice('Content-Encoding', 'gzip', 'gzip'),
  twice('Correlation-Id', 'a', 'b'),
  twice('traceparent', `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, `00-${'c'.repeat(32)}-${'d'.repeat(16)}-01`),
  twice('Operation-Timeout', '1s', '2s'),
  twice('Operation-Delay', '1s', '2s'),
  twice('Operation-Start-By', '1s', '2s'),
  twice('Operation-Priority', '1', '9'),
  twice('Operation-Durability', 'stored', 'none'),
  { ...twice('Expect', '100-continue', '100-continue'), closes: true },
  twice('Origin', 'http://localhost', 'http://evil.example'),
];

test('a request head that means two things or none', async (t) => {
  await underAttack(
    t,
    { services: { work: { target: { pull: true } }, raw: { target: { pull: true } } } },
    async (victim) => {
      for (const { row, what, parts, status, code, closes } of rows) {
        await t.test(
          `${row}: ${what} gets ${status} ${code}, nothing is stored, the connection is ${closes ? 'closed' : 'usable'}`,
          () =>
            victim.untouchedBy(async () => {
              const connection = await victim.open();
              connection.send(requestBytes(parts));
              assertProblem(await connection.response(), status, code);
              await (closes ? assertClosed(connection) : assertUsable(connection));
            }),
        );
      }

      await t.test('T8: 99 headers besides Host are read, and a late one counts as much as an early one', async () => {
        const padding = Array.from({ length: 97 }, (_, i): [string, string] => [`x-${i}`, 'b']);
        const answer = await victim.ask(submit({ headers: [...padding, ['Correlation-Id', 'the-last-one']] }));
        assert.equal(answer.status, 202);
        assert.equal(answer.header('correlation-id'), 'the-last-one');
      });

      await t.test('T11: CONNECT gets 405 and the connection is closed', () =>
        victim.untouchedBy(async () => {
          const connection = await victim.open();
          connection.send('CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n');
          const answer = await connection.response();
          assert.equal(answer?.status, 405);
          assert.ok(answer.header('allow'));
          await assertClosed(connection);
        }),
      );

      for (const [protocol, more] of [
        ['h2c', 'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n'],
        ['websocket', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n'],
        ['TLS/1.3', ''],
      ]) {
        await t.test(
          `T11: an upgrade to ${protocol} is ignored: never 101, the request itself is answered`,
          async () => {
            const connection = await victim.open();
            connection.send(
              `GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ${protocol}\r\n${more}\r\n`,
            );
            assert.equal((await connection.response())?.status, 200);
            await assertUsable(connection);
          },
        );
      }

      await t.test(
        'T11: an upgrade with a body is a submit like any other, and its body is not taken for another protocol',
        async () => {
          const connection = await victim.open();
          connection.send(
            requestBytes(
              submit({
                headers: [
                  ['Connection', 'Upgrade'],
                  ['Upgrade', 'h2c'],
                ],
                body: 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n',
              }),
            ),
          );
          assert.equal((await connection.response())?.status, 202);
          await assertUsable(connection);
        },
      );

      await t.test('T12: a request target of 20 kB gets 431 or 414 and the connection is closed', () =>
        victim.untouchedBy(async () => {
          const connection = await victim.open();
          connection.send(requestBytes(submit({ path: `/v1/call/work/${'a'.repeat(20_000)}` })));
          const answer = await connection.response();
          assert.ok(answer && [414, 431].includes(answer.status), String(answer?.status));
          await assertClosed(connection);
        }),
      );

      await t.test(
        'T12: percent-encoding that is no dot segment reaches the worker as it was sent, decoded by nobody',
        async () => {
          const target = '/v1/call/raw/a%20b/%252e%252e%252f/c%2Fd/%E2%82%AC/...;v=1?q=%00&q=%ff&../..';
          const connection = await victim.open();
          const accepted = await victim.ask({ method: 'POST', path: target, body: 'x' });
          assert.equal(accepted.status, 202, accepted.text);
          const leased = await victim.ask({
            method: 'POST',
            path: '/v1/services/raw/leases',
            headers: [['Content-Type', 'application/json']],
            body: '{}',
          });
          const [lease] = leased.json<{ leases: { request: { path: string; query: string } }[] }>().leases;
          assert.equal(`/v1/call/raw${lease!.request.path}?${lease!.request.query}`, target);
          connection.destroy();
        },
      );
    },
  );
});
