// What reaches a backend and what comes back, as tables.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import type { ServiceConfig } from '../config/config-shape.ts';
import { addressGuard } from './address.ts';
import { backendPath, endToEnd, httpTarget, outboundFields } from './http.ts';

test('path and query of the caller are put behind those of the service', () => {
  const table: [string, string, string, string][] = [
    ['http://h/score', '', '', '/score'],
    ['http://h/score', '/x/y', '', '/score/x/y'],
    ['http://h/score/', '/x', '', '/score/x'],
    ['http://h/score/', '', '', '/score/'],
    ['http://h', '', '', '/'],
    ['http://h', '/x', 'a=1&a=2', '/x?a=1&a=2'],
    ['http://h/s?fixed=1', '', '', '/s?fixed=1'],
    ['http://h/s?fixed=1', '/x', 'a=%20', '/s/x?fixed=1&a=%20'],
    ['http://h/s', '/a%2Fb', '', '/s/a%2Fb'],
  ];
  for (const [target, path, query, expected] of table)
    assert.equal(backendPath(new URL(target), path, query), expected);
});

test('hop-by-hop fields of an answer and those Connection names stay behind, all others keep their spelling and order', () => {
  const raw = [
    'X-A',
    '1',
    'Connection',
    'close, X-Secret-Hop',
    'x-secret-hop',
    'no',
    'Transfer-Encoding',
    'chunked',
    'Set-Cookie',
    'a=1',
    'Set-Cookie',
    'b=2',
  ];
  assert.deepEqual(endToEnd(raw.map((text) => Buffer.from(text))), [
    'X-A',
    '1',
    'Set-Cookie',
    'a=1',
    'Set-Cookie',
    'b=2',
  ]);
});

test("a field of the operator takes the place of the caller's, and ours the place of both", () => {
  const service = {
    target: { kind: 'http' as const, url: 'http://h', headers: { 'X-Api-Key': 'operator', 'operation-id': 'bent' } },
  };
  const fields = outboundFields(
    [
      ['x-api-key', 'caller'],
      ['X-Other', '1'],
      ['X-Other', '2'],
    ],
    service,
    [['Operation-Id', 'ours']],
  );
  assert.deepEqual(fields, [
    ['X-Other', '1'],
    ['X-Other', '2'],
    ['X-Api-Key', 'operator'],
    ['Operation-Id', 'ours'],
  ]);
});

test("nobody's signature goes beside ours, and without a secret a caller's is a field like others", () => {
  const fromCaller: [string, string][] = [
    ['webhook-id', 'forged'],
    ['Webhook-Signature', 'v1,forged'],
    ['WEBHOOK-TIMESTAMP', '1'],
    ['webhook-other', 'x'],
    ['X-Webhook-Id', 'kept'],
  ];
  const plain = { kind: 'http' as const, url: 'http://h', headers: {} };
  const ours: [string, string][] = [['webhook-id', 'ours']];
  assert.deepEqual(outboundFields(fromCaller, { target: { ...plain, secrets: ['whsec_'] } }, ours), [
    ['X-Webhook-Id', 'kept'],
    ['webhook-id', 'ours'],
  ]);
  assert.deepEqual(outboundFields(fromCaller, { target: plain }, []), fromCaller);
});

test('a signature keeps its id, is dated anew by the clock of the wall, and a body that streams is read once for it and once for the wire', async (t) => {
  const seen: { headers: IncomingHttpHeaders; body: Buffer }[] = [];
  const server = createServer((request, response) => {
    void buffer(request).then((body) => {
      seen.push({ headers: request.headers, body });
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  let now = 1_700_000_000_999;
  const guard = addressGuard({ isAllowed: () => false });
  const target = httpTarget({ isGuarded: () => false, guard, wallNow: () => now });
  t.after(async () => {
    await target.close();
    server.close();
  });
  const key = Buffer.alloc(32, 'k');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const pieces = [Buffer.from([0, 255, 10]), Buffer.alloc(100_000, 'x'), Buffer.from('ä')];
  let reads = 0;
  const send = (secrets?: string[]) =>
    target.send({
      service: {
        target: { kind: 'http', url, headers: {}, ...(secrets && { secrets }) },
        maxBodyBytes: 1000,
      } as unknown as ServiceConfig,
      head: { method: 'POST', path: '', query: '', headers: [] },
      headers: [],
      messageId: 'op1',
      async *body() {
        reads++;
        yield* pieces;
      },
      bodyBytes: Buffer.concat(pieces).length,
      timeoutMs: 5000,
      signal: new AbortController().signal,
    });
  for (const [at, timestamp] of [
    [now, 1_700_000_000],
    [now + 61_000, 1_700_000_061],
  ] as const) {
    now = at;
    assert.equal((await send([`whsec_${key.toString('base64')}`])).kind, 'response');
    const { headers, body } = seen.at(-1)!;
    assert.deepEqual(body, Buffer.concat(pieces));
    const mac = createHmac('sha256', key).update(`op1.${timestamp}.`).update(body).digest('base64');
    assert.deepEqual(
      [headers['webhook-id'], headers['webhook-timestamp'], headers['webhook-signature']],
      ['op1', String(timestamp), `v1,${mac}`],
    );
  }
  assert.equal(reads, 4);
  await send();
  assert.equal(reads, 5, 'without a secret once');
  assert.equal(seen.at(-1)!.headers['webhook-signature'], undefined);
});
