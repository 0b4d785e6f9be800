// Whoever watches costs a socket and little more, hears a sign of life, and is cut off when it does not read.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { pieceOf, type Watcher, Watchers } from './watchers.ts';

interface Pair {
  response: ServerResponse;
  /** The server's side. */
  socket: Socket;
  client: Socket;
  watcher: Watcher;
}

/** A watcher and its client, whose bytes nobody has read yet. */
async function watched(t: TestContext, watchers: Watchers, { alone = true } = {}): Promise<Pair> {
  const begun = Promise.withResolvers<Omit<Pair, 'client'>>();
  const server = createServer((request, response) => {
    // As the listener does: never in the turn in which the request came.
    setImmediate(() => {
      response.writeHead(200, ['Content-Type', 'text/event-stream', 'Connection', 'close']);
      begun.resolve({ response, socket: request.socket, watcher: watchers.begin(response, { alone }) });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => {});
  t.after(() => {
    client.destroy();
    server.close();
  });
  client.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  return { ...(await begun.promise), client };
}

/** What comes until the server closes. */
async function all(client: Socket): Promise<string> {
  let text = '';
  client.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  await once(client, 'close');
  return text;
}

test(
  'a connection that is taken over has nothing of node:http left, and its stream is whole',
  { timeout: 20_000 },
  async (t) => {
    const watchers = new Watchers();
    const { response, socket, client, watcher } = await watched(t, watchers);
    assert.equal(watcher.ownsSocket, true);
    assert.equal(response.socket, null);
    assert.equal(response.req.socket, null);
    assert.equal((socket as { parser?: unknown }).parser, null);
    assert.deepEqual(
      ['data', 'drain', 'timeout', 'pause', 'resume', 'end', 'close', 'error'].map((event) =>
        socket.listenerCount(event),
      ),
      [0, 0, 0, 0, 0, 1, 1, 1],
      'those that are left are ours',
    );
    assert.equal(watchers.count, 1);
    let gone = 0;
    watcher.onGone(() => gone++);
    client.write('GET /more HTTP/1.1\r\nHost: localhost\r\n\r\n');
    watcher.send(pieceOf('data: é\n\n', 1));
    watcher.end();
    watcher.end();
    const text = await all(client);
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(text, /\r\nTransfer-Encoding: chunked\r\n/i);
    assert.ok(
      text.endsWith('\r\n\r\n1d\r\nretry: 1000\n: events follow\n\n\r\na\r\ndata: é\n\n\r\n0\r\n\r\n'),
      JSON.stringify(text),
    );
    assert.equal(gone, 1);
    assert.equal(watchers.count, 0);
    watcher.onGone(() => gone++);
    assert.equal(gone, 2, 'who comes late is told at once');
  },
);

test('one that shares its connection stays with node:http and is told the same', { timeout: 20_000 }, async (t) => {
  const watchers = new Watchers();
  const { client, watcher } = await watched(t, watchers, { alone: false });
  assert.equal(watcher.ownsSocket, false);
  watcher.send(pieceOf('data: é\n\n', 1));
  watcher.end();
  const text = await all(client);
  assert.match(text, /1d\r\nretry: 1000\n: events follow\n\n\r\na\r\ndata: é\n\n\r\n0\r\n\r\n$/);
  assert.equal(watchers.count, 0);
});

test('everyone hears a sign of life', { timeout: 20_000 }, async (t) => {
  const watchers = new Watchers({ everyMs: 30 });
  const pairs = await Promise.all(Array.from({ length: 20 }, () => watched(t, watchers)));
  await Promise.all(
    pairs.map(async ({ client }) => {
      let text = '';
      client.setEncoding('utf8');
      for await (const piece of client) {
        text += piece as string;
        if (text.split(': still here\n\n').length > 2) return;
      }
    }),
  );
  watchers.cutAll();
  while (watchers.count > 0) await new Promise((resolve) => setImmediate(resolve));
});

for (const [what, event] of [
  ['a thousand events', 'data: x\n\n'],
  ['a megabyte', `data: ${'x'.repeat(65_536)}\n\n`],
] as const) {
  test(`one that leaves ${what} unread is cut off, and not before`, { timeout: 20_000 }, async (t) => {
    const { client, socket, watcher } = await watched(t, new Watchers());
    client.pause();
    // More than the kernel takes: however much comes at once, who has taken all before it is not slow.
    watcher.send(pieceOf(`data: ${'x'.repeat(32 * 1024 * 1024)}\n\n`, 1));
    assert.equal(socket.destroyed, false);
    const before = socket.writableLength;
    let sent = 0;
    for (; !socket.destroyed; sent++) watcher.send(pieceOf(event, 1));
    if (what === 'a thousand events') assert.equal(sent, 1001);
    else assert.equal(sent, Math.floor((1024 * 1024) / pieceOf(event, 1).chunk.length) + 1);
    assert.ok(before > 0);
  });
}

test('the past waits for its reader, and goes on when that reads or leaves', { timeout: 20_000 }, async (t) => {
  const { client, watcher } = await watched(t, new Watchers());
  assert.equal(watcher.taken(), undefined);
  client.pause();
  const large = pieceOf(`data: ${'x'.repeat(32 * 1024 * 1024)}\n\n`, 1);
  watcher.send(large);
  const taken = watcher.taken();
  assert.ok(taken);
  client.resume();
  await taken;
  assert.equal(watcher.taken(), undefined);
  client.pause();
  watcher.send(large);
  const gone = watcher.taken();
  client.destroy();
  await gone;
});
