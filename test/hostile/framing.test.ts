// Requests whose end two parsers could see in two places: refused before routing, and the connection closed so that nothing hides behind them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertClosed, underAttack } from '../support/victim.ts';

const head = 'POST /v1/call/work HTTP/1.1\r\nHost: localhost\r\n';
/** Stored when the framing above is read in the attacker's way. */
const smuggled = 'POST /v1/call/work HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nsmuggled';

const rows: readonly { row: string; what: string; bytes: string; status?: number; halfClose?: true }[] = [
  {
    row: 'T1',
    what: 'Content-Length and Transfer-Encoding together',
    bytes: `${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
  },
  {
    row: 'T1',
    what: 'Transfer-Encoding before Content-Length',
    bytes: `${head}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${smuggled}`,
  },
  {
    row: 'T2',
    what: 'two different Content-Length',
    bytes: `${head}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd${smuggled}`,
  },
  {
    row: 'T2',
    what: 'two equal Content-Length',
    bytes: `${head}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc${smuggled}`,
  },
  { row: 'T2', what: 'a Content-Length list', bytes: `${head}Content-Length: 3, 3\r\n\r\nabc${smuggled}` },
  { row: 'T2', what: 'Content-Length: +3', bytes: `${head}Content-Length: +3\r\n\r\nabc${smuggled}` },
  { row: 'T2', what: 'Content-Length: -1', bytes: `${head}Content-Length: -1\r\n\r\nabc${smuggled}` },
  { row: 'T2', what: 'Content-Length: 0x3', bytes: `${head}Content-Length: 0x3\r\n\r\nabc${smuggled}` },
  { row: 'T2', what: 'an empty Content-Length', bytes: `${head}Content-Length: \r\n\r\nabc${smuggled}` },
  {
    row: 'T2',
    what: 'a Content-Length beyond 2^64',
    bytes: `${head}Content-Length: 18446744073709551619\r\n\r\nabc${smuggled}`,
  },
  {
    row: 'T3',
    what: 'Transfer-Encoding: xchunked',
    bytes: `${head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`,
  },
  {
    row: 'T3',
    what: 'Transfer-Encoding: chunked, identity',
    bytes: `${head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${smuggled}`,
  },
  {
    row: 'T3',
    what: 'Transfer-Encoding: gzip, chunked, which nobody here decodes',
    bytes: `${head}Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
  },
  {
    row: 'T3',
    what: 'two Transfer-Encoding',
    bytes: `${head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
  },
  { row: 'T3', what: 'Transfer-Encoding: identity', bytes: `${head}Transfer-Encoding: identity\r\n\r\n${smuggled}` },
  {
    row: 'T3',
    what: 'a header folded over two lines',
    bytes: `${head}X-Folded: a\r\n b\r\nContent-Length: 0\r\n\r\n${smuggled}`,
  },
  {
    row: 'T3',
    what: 'bare line feeds',
    bytes: 'POST /v1/call/work HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n',
  },
  { row: 'T3', what: 'a space before the colon', bytes: `${head}Content-Length : 3\r\n\r\nabc${smuggled}` },
  { row: 'T3', what: 'NUL in a header value', bytes: `${head}X-Nul: a\0b\r\nContent-Length: 0\r\n\r\n${smuggled}` },
  {
    row: 'T3',
    what: 'a bare carriage return in a header value',
    bytes: `${head}X-Cr: a\rb\r\nContent-Length: 0\r\n\r\n`,
  },
  { row: 'T3', what: 'a header block ended by CR LF CR X', bytes: `${head}Content-Length: 0\r\n\rX${smuggled}` },
  {
    row: 'T4',
    what: 'a chunk size beyond 64 bits',
    bytes: `${head}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc`,
  },
  { row: 'T4', what: 'a chunk size that is no number', bytes: `${head}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc` },
  {
    row: 'T4',
    what: 'a chunk longer than it says',
    bytes: `${head}Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n`,
  },
  {
    row: 'T5',
    what: 'a chunk extension of 20 kB',
    bytes: `${head}Transfer-Encoding: chunked\r\n\r\n3;${'e'.repeat(20_000)}\r\nabc\r\n0\r\n\r\n`,
    status: 413,
  },
  {
    row: 'T9',
    what: 'a header block of 17 kB',
    bytes: `${head}X-Large: ${'a'.repeat(17_000)}\r\nContent-Length: 0\r\n\r\n`,
    status: 431,
  },
  {
    row: 'T9',
    what: 'trailers of 17 kB behind a chunked body',
    bytes: `${head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Late: ${'a'.repeat(17_000)}\r\n\r\n`,
    status: 431,
  },
  { row: 'T11', what: 'the preface of HTTP/2', bytes: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' },
  { row: 'T11', what: 'HTTP/2.0 in a request line', bytes: 'GET /v1/operations HTTP/2.0\r\nHost: localhost\r\n\r\n' },
  { row: 'T11', what: 'a TLS handshake', bytes: '\x16\x03\x01\x00\xca\x01\x00\x00\xc6\x03\x03' },
  { row: 'T11', what: 'a method that is none', bytes: 'SMUGGLE /v1/call/work HTTP/1.1\r\nHost: localhost\r\n\r\n' },
  {
    row: 'T12',
    what: 'bytes above 127 in the path',
    bytes: 'POST /v1/call/work/\xff HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n',
  },
  {
    row: 'T17',
    what: 'a body shorter than its Content-Length',
    bytes: `${head}Content-Length: 30\r\n\r\nabc`,
    halfClose: true,
  },
  {
    row: 'T17',
    what: 'a chunked body that ends in the middle',
    bytes: `${head}Transfer-Encoding: chunked\r\n\r\n30\r\nabc`,
    halfClose: true,
  },
];

test('a request that could be read in two ways', async (t) => {
  await underAttack(t, { services: { work: { target: { pull: true } } } }, async (victim) => {
    for (const { row, what, bytes, status = 400, halfClose } of rows) {
      await t.test(`${row}: ${what} gets ${status}, is not stored, and the connection is closed`, () =>
        victim.untouchedBy(async () => {
          const connection = await victim.open();
          connection.send(bytes);
          if (halfClose) connection.end();
          assert.equal((await connection.response())?.status, status);
          await assertClosed(connection);
        }),
      );
    }

    await t.test(
      'T17: a body longer than its Content-Length is cut there, and the rest is refused as a request',
      async () => {
        const connection = await victim.open();
        connection.send(`${head}Content-Length: 3\r\n\r\nabcdefghij`);
        const accepted = await connection.response();
        assert.equal(accepted?.status, 202);
        assert.equal((await connection.response())?.status, 400);
        await assertClosed(connection);
        const lease = await victim.ask({
          method: 'POST',
          path: '/v1/services/work/leases',
          headers: [['Content-Type', 'application/json']],
          body: '{"max":10}',
        });
        const { leases } = lease.json<{ leases: { request: { body: string } }[] }>();
        assert.deepEqual(
          leases.map(({ request }) => request.body),
          ['abc'],
        );
      },
    );
  });
});
