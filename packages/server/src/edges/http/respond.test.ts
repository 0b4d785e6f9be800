// A body that streams ends with its reader, whenever that leaves, and takes nothing along that it holds.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { respond } from './respond.ts';

/** Answers one request with a body, and gives both sides of it. */
async function answering(
  t: TestContext,
  body: (response: ServerResponse) => AsyncIterable<Uint8Array>,
): Promise<{ message: IncomingMessage; answered: Promise<void> }> {
  const answered = Promise.withResolvers<void>();
  const server = createServer((_, response) => {
    const answer = { status: 200, headers: [], body: body(response) };
    respond(response, answer, { headOnly: false, unread: undefined }).then(answered.resolve, answered.reject);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const [message] = (await once(get({ port: (server.address() as AddressInfo).port }), 'response')) as [
    IncomingMessage,
  ];
  message.on('error', () => {});
  return { message, answered: answered.promise };
}

test('a reader that left between two pieces is not waited for', { timeout: 20_000 }, async (t) => {
  let ended = false;
  const { message, answered } = await answering(t, async function* (response) {
    try {
      yield Buffer.from('one');
      await once(response, 'close');
      yield Buffer.from('two');
      yield Buffer.from('three');
    } finally {
      ended = true;
    }
  });
  message.destroy();
  await answered;
  assert.ok(ended);
});
