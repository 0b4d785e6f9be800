// Bodies of submitted work and of its results are bytes: whatever they hold, they come out as they went in, on every way through the server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { backendFor } from '../support/backend.ts';
import type { RawResponse } from '../support/raw-http.ts';
import { underAttack, type Victim } from '../support/victim.ts';
import { bodyOf, leaseOne, postJson } from '../support/worker.ts';

interface Payload {
  row: string;
  what: string;
  body: string | Uint8Array;
  type?: string;
  encoding?: string;
}

const mb = 1024 * 1024;
const quick = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };
const json = 'application/json';

const payloads: readonly Payload[] = [
  { row: 'T27', what: '1e999', body: '{"n":1e999}', type: json },
  {
    row: 'T27',
    what: '2^53+1',
    body: '[9007199254740993, 0.1000000000000000055511151231257827, -0.0, 1E+2]',
    type: json,
  },
  { row: 'T27', what: 'duplicate keys', body: '{"a":1,"a":2, "\\u0061":3}', type: json },
  { row: 'T27', what: 'white space and escapes', body: ' {\r\n\t"é" :"\\u00e9\\/" , "b": [ ] }\n\n', type: json },
  { row: 'T27', what: 'every byte there is', body: Buffer.from(Array.from({ length: 256 }, (_, i) => i)) },
  { row: 'T27', what: 'NULs', body: Buffer.alloc(1000), type: 'application/octet-stream' },
  {
    row: 'T27',
    what: 'what looks like the next request',
    body: 'GET / HTTP/1.1\r\nHost: x\r\n\r\n0\r\n\r\n',
    type: 'text/plain',
  },
  { row: 'T23', what: 'broken JSON', body: '{"a":', type: json },
  { row: 'T23', what: 'a byte order mark', body: '\ufeff{"a":1}', type: json },
  { row: 'T23', what: 'UTF-16', body: Buffer.from('\ufeff{"a":1}', 'utf16le'), type: `${json}; charset=utf-16` },
  { row: 'T23', what: 'a lone surrogate in an escape', body: '{"a":"\\ud800"}', type: json },
  { row: 'T23', what: 'a lone surrogate in UTF-8', body: Buffer.from('"\xed\xa0\x80"', 'latin1'), type: json },
  { row: 'T23', what: 'invalid UTF-8', body: Buffer.from('"\xff\xc0\xaf"', 'latin1'), type: json },
  { row: 'T24', what: '200,000 levels of arrays', body: `${'['.repeat(200_000)}${']'.repeat(200_000)}`, type: json },
  { row: 'T25', what: 'a flat array of 8 MB', body: `[${'0,'.repeat(4 * mb)}0]`, type: json },
  {
    row: 'T26',
    what: '__proto__ and constructor',
    body: '{"__proto__":{"x":1},"constructor":{"prototype":{"x":1}}}',
    type: json,
  },
  {
    row: 'T32',
    what: 'XML with an external entity',
    body: '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a>&b;</a>',
    type: 'application/xml',
  },
  {
    row: 'T32',
    what: 'XML whose entities grow without end',
    body: '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]><l>&c;</l>',
    type: 'text/xml',
  },
  {
    row: 'T32',
    what: 'a multipart form',
    body: '--b\r\nContent-Disposition: form-data; name="f"; filename="../../etc/passwd"\r\n\r\n\0\xff\r\n--b--\r\n',
    type: 'multipart/form-data; boundary=b',
  },
  { row: 'T32', what: 'a form', body: 'a=1&a=2&__proto__[x]=1', type: 'application/x-www-form-urlencoded' },
  { row: 'T18', what: 'a gzip bomb, 1000:1', body: gzipSync(Buffer.alloc(20 * mb)), encoding: 'gzip' },
  {
    row: 'T18',
    what: 'a brotli bomb, far beyond 10,000:1',
    body: brotliCompressSync(Buffer.alloc(50 * mb), quick),
    encoding: 'br',
  },
  { row: 'T18', what: 'gzip in gzip', body: gzipSync(gzipSync(Buffer.alloc(mb))), encoding: 'gzip, gzip' },
  { row: 'T18', what: 'a coding nobody knows', body: 'abc', encoding: 'x-secret' },
  { row: 'T18', what: 'gzip that is none', body: 'not gzip at all', encoding: 'gzip' },
  { row: 'T27', what: 'nothing at all', body: '' },
];

const fieldsOf = ({ type, encoding }: Payload): [string, string][] => [
  ...(type === undefined ? [] : [['Content-Type', type] as [string, string]]),
  ...(encoding === undefined ? [] : [['Content-Encoding', encoding] as [string, string]]),
];

/** The same bytes under the same media type and coding. */
function assertSame(result: RawResponse, payload: Payload): void {
  assert.equal(result.status, 200, result.status === 200 ? '' : result.text);
  assert.ok(result.body.equals(Buffer.from(payload.body as Uint8Array)), 'every byte is the same');
  assert.equal(result.header('content-type'), payload.type);
  assert.equal(result.header('content-encoding'), payload.encoding);
}

async function resultOf(victim: Victim, id: string): Promise<RawResponse> {
  return victim.ask({ path: `/v1/operations/${id}/result`, headers: [['Prefer', 'wait=30']] });
}

/** The envelope shows the same bytes, as text only where they are UTF-8. */
async function assertSameInEnvelope(victim: Victim, id: string, payload: Payload): Promise<void> {
  const envelope = await victim.ask({ path: `/v1/operations/${id}/result?envelope=json` });
  assert.equal(envelope.status, 200);
  assert.ok(
    bodyOf(envelope.json<{ body?: string; bodyBase64?: string }>()).equals(Buffer.from(payload.body as Uint8Array)),
  );
}

test('bytes through a push backend: the backend gets what was sent, the caller gets what it answered', async (t) => {
  const backend = await backendFor(t, ({ body, headers }) => ({
    body,
    headers: {
      ...(headers['content-type'] === undefined ? {} : { 'Content-Type': headers['content-type'] }),
      ...(headers['content-encoding'] === undefined ? {} : { 'Content-Encoding': headers['content-encoding'] }),
    },
  }));
  await underAttack(t, { services: { echo: { target: { url: `${backend.url}/` } } } }, async (victim) => {
    for (const [i, payload] of payloads.entries()) {
      await t.test(`${payload.row}: ${payload.what}`, async () => {
        const answered = await victim.ask({
          method: 'POST',
          path: '/v1/call/echo',
          headers: [...fieldsOf(payload), ['Prefer', 'wait=30']],
          body: payload.body,
        });
        const got = backend.requests[i]!;
        assert.ok(got.body.equals(Buffer.from(payload.body as Uint8Array)), 'the backend got every byte');
        assert.equal(got.headers['content-type'], payload.type);
        assert.equal(got.headers['content-encoding'], payload.encoding, 'still encoded');
        assertSame(answered, payload);
        const id = answered.header('operation-id')!;
        assertSame(await resultOf(victim, id), payload);
        await assertSameInEnvelope(victim, id, payload);
      });
    }
  });
});

test('bytes through a pull worker: the lease shows them, the settlement and the reply take them', async (t) => {
  await underAttack(t, { services: { work: { target: { pull: true } } } }, async (victim) => {
    for (const payload of payloads) {
      const bytes = Buffer.from(payload.body as Uint8Array);
      await t.test(`${payload.row}: ${payload.what}: lease, and base64 in a settlement`, async () => {
        const { token, operation, request } = await leaseOne(victim, 'work', {
          headers: fieldsOf(payload),
          body: payload.body,
        });
        assert.ok(bodyOf(request).equals(bytes), 'the worker got every byte');
        const named = (name: string): string | undefined =>
          request.headers.find(([own]) => own.toLowerCase() === name)?.[1];
        assert.equal(named('content-type'), payload.type);
        assert.equal(named('content-encoding'), payload.encoding);
        const settled = await postJson(
          victim,
          '/v1/services/work/leases',
          JSON.stringify({
            settle: [{ token, reply: { headers: fieldsOf(payload), bodyBase64: bytes.toString('base64') } }],
          }),
        );
        assert.deepEqual(settled.json()['settled'], [{ status: 200 }]);
        assertSame(await resultOf(victim, operation.id), payload);
        await assertSameInEnvelope(victim, operation.id, payload);
      });
      await t.test(`${payload.row}: ${payload.what}: raw on the reply URL`, async () => {
        const { token, operation } = await leaseOne(victim, 'work');
        const replied = await victim.ask({
          method: 'POST',
          path: `/v1/leases/${token}/reply`,
          headers: fieldsOf(payload),
          body: payload.body,
        });
        assert.equal(replied.status, 200, replied.text);
        assertSame(await resultOf(victim, operation.id), payload);
      });
    }

    for (const source of [
      '1e999',
      '9007199254740993',
      '{"a":1,"a":2}',
      '{ "__proto__" : { "x" : 1 } }',
      '[ 1,\r\n\t2 ]',
      '{"a":"\\ud800"}',
      '"a\\u00e9\\/\\n"',
      'null',
      'false',
      `${'['.repeat(200_000)}${']'.repeat(200_000)}`,
      `[${'0,'.repeat(300_000)}0]`,
      '{"body":{"body":"}"}}',
    ]) {
      const shown = source.length > 40 ? `${source.slice(0, 40)}…` : source;
      await t.test(
        `T27: settle: the JSON value ${shown} as body is kept as its source text, a text as its UTF-8 bytes`,
        async () => {
          const { token, operation } = await leaseOne(victim, 'work');
          const envelope = `{"settle": [ {"token":"${token}", "reply" : {"status":200, "body"  :  ${source}  , "headers":{"Content-Type":"${json}"} } } ] }`;
          const settled = await postJson(victim, '/v1/services/work/leases', envelope);
          assert.deepEqual(settled.json()['settled'], [{ status: 200 }], settled.text);
          const result = await resultOf(victim, operation.id);
          assert.equal(result.text, source.startsWith('"') ? (JSON.parse(source) as string) : source);
        },
      );
    }

    await t.test('T27: settle: a header named body is a header, and each reply keeps its own body', async () => {
      const first = await leaseOne(victim, 'work');
      const second = await leaseOne(victim, 'work');
      const item = (token: string, text: string): string =>
        `{"token":"${token}","reply":{"headers":{"body":"not this one","Content-Type":"text/plain"},"body":{"mine":"${text}"}}}`;
      const settled = await postJson(
        victim,
        '/v1/services/work/leases',
        `{"settle":[${item(first.token, 'first')},${item(second.token, 'second')}]}`,
      );
      assert.deepEqual(settled.json()['settled'], [{ status: 200 }, { status: 200 }], settled.text);
      for (const [{ operation }, text] of [
        [first, 'first'],
        [second, 'second'],
      ] as const) {
        const result = await resultOf(victim, operation.id);
        assert.equal(result.text, `{"mine":"${text}"}`);
        assert.equal(result.header('body'), 'not this one');
      }
    });

    await t.test('T27: the data of a progress report is shown as the source text it came as', async () => {
      const { token, operation } = await leaseOne(victim, 'work');
      const data = '{ "n" : 1e999, "n": 9007199254740993, "__proto__": {"x": 1} }';
      const reported = await postJson(victim, `/v1/leases/${token}/progress`, `{"stage":"a","data":${data}}`);
      assert.equal(reported.status, 200, reported.text);
      const status = await victim.ask({ path: `/v1/operations/${operation.id}` });
      assert.ok(status.text.includes(`"data":${data}`), status.text);
      const timeline = await victim.ask({ path: `/v1/operations/${operation.id}/timeline` });
      assert.ok(timeline.text.includes(`"data":${data}`), timeline.text);
    });
  });
});

test('bytes of an answer that comes later: what is posted to the reply URL is the result', async (t) => {
  const backend = await backendFor(t, () => ({ status: 202 }));
  await underAttack(t, { services: { later: { target: { url: backend.url } } } }, async (victim) => {
    for (const [i, payload] of payloads.entries()) {
      await t.test(`${payload.row}: ${payload.what}`, async () => {
        const accepted = await victim.ask({ method: 'POST', path: '/v1/call/later', body: 'x' });
        const request = (await backend.received(i + 1))[i]!;
        const url = new URL(request.headers['operation-reply-url']!);
        // The attempt's own 202 may be recorded after the reply has come: then the lease is simply still the first one.
        const replied = await victim.ask({
          method: 'POST',
          path: url.pathname,
          headers: fieldsOf(payload),
          body: payload.body,
        });
        assert.equal(replied.status, 200, replied.text);
        assertSame(await resultOf(victim, accepted.header('operation-id')!), payload);
      });
    }
  });
});
