// The proxy that stands for a bad network: each fault does what it says, and nothing else is changed on the way.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { setImmediate as immediately } from 'node:timers/promises';
import { cleanUp } from './cleanup.ts';
import { tcpProxy } from './tcp-proxy.ts';

/** Greets with its name and echoes what it gets; ends when the client does. */
async function echo(t: TestContext, name = ''): Promise<{ port: number; received: () => string; stop(): void }> {
  const sockets = new Set<Socket>();
  let received = '';
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('data', (chunk) => (received += chunk.toString('latin1')));
    if (name) socket.write(name);
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  cleanUp(t, stop);
  return { port: (server.address() as { port: number }).port, received: () => received, stop };
}

function open(t: TestContext, port: number): Socket {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  cleanUp(t, () => socket.destroy());
  return socket.on('error', () => {});
}

async function next(socket: Socket): Promise<string> {
  return ((await once(socket, 'data')) as [Buffer])[0].toString();
}

/** Resolves when the connection is over, with the error that ended it. */
const over = (socket: Socket): Promise<string | undefined> =>
  new Promise((resolve) => {
    let code: string | undefined;
    socket.once('error', (error: NodeJS.ErrnoException) => (code = error.code));
    socket.once('close', () => resolve(code));
    socket.resume();
  });

/** Fails when something comes before the proof has been given that time has passed for others. */
async function hearsNothing(socket: Socket, proof: () => Promise<unknown>): Promise<void> {
  const heard = (chunk?: Buffer): void => assert.fail(`heard ${chunk?.toString() ?? 'an end'}`);
  socket.on('data', heard).once('end', heard).once('close', heard);
  await proof();
  socket.off('data', heard).off('end', heard).off('close', heard).pause();
}

test('forward: bytes pass unchanged both ways, and each side may end before the other', async (t) => {
  const proxy = await tcpProxy(t, { to: (await echo(t)).port });
  const socket = open(t, proxy.port);
  const sent = randomBytes(3_000_000);
  socket.end(sent);
  assert.ok(sent.equals(await buffer(socket)));
});

test('a reader that does not read is felt by the sender', async (t) => {
  const proxy = await tcpProxy(t, { to: (await echo(t)).port });
  const socket = open(t, proxy.port);
  socket.pause();
  const sent = Buffer.alloc(64 * 1024 * 1024, 'x');
  let written = 0;
  const piece = 64 * 1024;
  // The kernel's buffers take some; a proxy that took the rest would let this come to its end.
  const write = (): void => {
    while (written < sent.length) {
      written += piece;
      if (!socket.write(sent.subarray(written - piece, written))) return void socket.once('drain', write);
    }
    socket.end();
  };
  write();
  const other = open(t, proxy.port);
  for (let round = 0; round < 500; round++) {
    other.write('.');
    await next(other);
  }
  assert.ok(written < sent.length, `${written} bytes were taken`);
  assert.ok(sent.equals(await buffer(socket)));
});

test('refuse: new connections are refused, those there go on, and reset ends them', async (t) => {
  const proxy = await tcpProxy(t, { to: (await echo(t, 'hello')).port });
  const old = open(t, proxy.port);
  await next(old);
  await proxy.set('refuse');
  assert.equal(await over(open(t, proxy.port)), 'ECONNREFUSED');
  old.write('still here');
  assert.equal(await next(old), 'still here');
  assert.equal(proxy.connections, 1);
  proxy.reset();
  assert.equal(await over(old), 'ECONNRESET');
  assert.equal(proxy.connections, 0);
  await proxy.set('forward');
  assert.equal(await next(open(t, proxy.port)), 'hello');
});

test('black-hole: bytes are swallowed, nobody is answered, and what was lost stays lost', async (t) => {
  const target = await echo(t, 'hello');
  const proxy = await tcpProxy(t, { to: target.port });
  const old = open(t, proxy.port);
  await next(old);
  await proxy.set('black-hole');
  old.write('lost');
  const fresh = open(t, proxy.port);
  fresh.write('lost too');
  await hearsNothing(old, () =>
    hearsNothing(fresh, async () => {
      while (proxy.swallowed < 'lostlost too'.length) await immediately();
      await proxy.set('forward');
      old.write('later');
      fresh.end('later');
      while (proxy.swallowed < 'lostlost toolaterlater'.length) await immediately();
      assert.equal(await next(open(t, proxy.port)), 'hello');
      // Nor is the client told when the one behind the proxy goes.
      target.stop();
    }),
  );
  assert.equal(target.received(), '');
});

test('hold: nothing passes, and then everything in order: connections, bytes and ends', async (t) => {
  const target = await echo(t, 'hello ');
  const proxy = await tcpProxy(t, { to: target.port });
  const old = open(t, proxy.port);
  await next(old);
  await proxy.set('hold');
  old.write('one ');
  old.end('two');
  const fresh = open(t, proxy.port);
  await once(fresh, 'connect');
  fresh.end('three');
  const direct = open(t, target.port);
  await hearsNothing(old, () => hearsNothing(fresh, () => next(direct)));
  assert.equal(target.received(), '');
  await proxy.set('forward');
  assert.equal((await buffer(old)).toString(), 'one two');
  assert.equal((await buffer(fresh)).toString(), 'hello three');
});

test('a delay keeps the order, also when it becomes shorter on the way', async (t) => {
  const proxy = await tcpProxy(t, { to: (await echo(t)).port });
  const socket = open(t, proxy.port);
  proxy.delayMs.toTarget = 30;
  proxy.delayMs.toClient = 10;
  const begun = performance.now();
  socket.write('slow ');
  const first = next(socket);
  assert.equal(await first, 'slow ');
  // A lower bound, which holds whatever else the machine does; timers may be early by a little.
  assert.ok(performance.now() - begun >= 30);
  socket.write('a');
  // Time for the proxy to take it in. Were this too short, the test would prove less, but not fail.
  for (let turn = 0; turn < 100; turn++) await immediately();
  proxy.delayMs.toTarget = 0;
  socket.end('b');
  assert.equal((await buffer(socket)).toString(), 'ab');
});

test('what a target does to a connection is seen by the client: an end, and a reset', async (t) => {
  const server = createServer((socket) => {
    socket
      .on('error', () => {})
      .once('data', (chunk) => (chunk.toString() === 'end' ? socket.end('bye') : socket.resetAndDestroy()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(t, () => server.close());
  const proxy = await tcpProxy(t, { to: (server.address() as { port: number }).port });
  const [ended, reset] = [open(t, proxy.port), open(t, proxy.port)];
  ended.write('end');
  assert.equal((await buffer(ended)).toString(), 'bye');
  reset.write('reset');
  assert.equal(await over(reset), 'ECONNRESET');
});

test('targets take turns; one that refuses is passed over; none at all is a reset', async (t) => {
  const [a, b, c] = [await echo(t, 'a'), await echo(t, 'b'), await echo(t, 'c')];
  const proxy = await tcpProxy(t, { targets: [a.port, b.port] });
  const turns = async (): Promise<string> => {
    let seen = '';
    for (let turn = 0; turn < 4; turn++) seen += await next(open(t, proxy.port));
    return seen;
  };
  assert.equal(await turns(), 'abab');
  proxy.to([a.port, b.port, c.port]);
  b.stop();
  assert.equal((await turns()).replaceAll(/[ac]/g, ''), '');
  proxy.to([c.port]);
  assert.equal(await turns(), 'cccc');
  proxy.to([]);
  assert.equal(await over(open(t, proxy.port)), 'ECONNRESET');
});

test('a cut passes what it says and no answer to it', async (t) => {
  const target = await echo(t);
  const endings = ['reset', 'silence'] as const;
  for (const ending of endings) {
    const before = target.received().length;
    const proxy = await tcpProxy(t, {
      to: target.port,
      inspect: () => (chunk) => {
        const at = chunk.indexOf('!');
        return at < 0 ? undefined : { pass: at + 1, ending };
      },
    });
    const socket = open(t, proxy.port);
    socket.write('first');
    assert.equal(await next(socket), 'first');
    socket.write('second!third');
    if (ending === 'reset') assert.equal(await over(socket), 'ECONNRESET');
    else {
      await hearsNothing(socket, async () => {
        const probe = open(t, proxy.port);
        probe.write('probe');
        await next(probe);
      });
    }
    const direct = open(t, target.port);
    direct.write('.');
    await next(direct);
    assert.equal(
      target
        .received()
        .slice(before)
        .replaceAll(/probe|\./g, ''),
      'firstsecond!',
    );
  }
});
