// A request that is given up while its connection is made: whoever waits for it goes on at once, and the connection ends.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { ServiceConfig } from '../config/config-shape.ts';
import { addressGuard, type GuardOptions } from './address.ts';
import { httpTarget } from './http.ts';

/** Far beyond the end of these tests: nothing here ends because a connection took too long. */
const never = 2_000_000_000;
const limits = { timeout: 60_000 };

/** Takes connections and never says a word, so that who greets it over TLS is not connected yet. */
async function silence(t: TestContext) {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return {
    port: (server.address() as AddressInfo).port,
    /** Resolves once a greeting has come. */
    greeted: async (): Promise<{ ended: Promise<unknown> }> => {
      const [socket] = (await once(server, 'connection')) as [Socket];
      const ended = new Promise((resolve) => socket.on('error', () => {}).once('close', resolve));
      await once(socket, 'data');
      // Its end is seen by whoever goes on reading.
      socket.resume();
      return { ended };
    },
  };
}

function wayOut(t: TestContext, { guarded, ...guard }: Partial<GuardOptions> & { guarded: boolean }) {
  const target = httpTarget({
    isGuarded: () => guarded,
    guard: addressGuard({ isAllowed: () => true, ...guard }),
    connectMs: never,
  });
  t.after(() => target.close());
  const send = async (url: string, { signal, timeoutMs = never }: { signal?: AbortSignal; timeoutMs?: number }) => {
    const sent = await target.send({
      service: {
        name: 's',
        target: { kind: 'http', url, headers: {} },
        maxBodyBytes: 1000,
      } as unknown as ServiceConfig,
      head: { method: 'POST', path: '', query: '', headers: [] },
      headers: [],
      messageId: 'm',
      body: Buffer.from('x'),
      bodyBytes: 1,
      timeoutMs,
      signal: signal ?? new AbortController().signal,
    });
    return sent.kind === 'failure' ? sent.code : sent.response.status;
  };
  return { send, close: () => target.close() };
}

for (const guarded of [false, true]) {
  const kind = guarded ? 'guarded' : 'open';

  test(
    `${kind}: a cancel and a time limit end an attempt that is not connected yet, its connection and no other`,
    limits,
    async (t) => {
      const { port, greeted } = await silence(t);
      const { send } = wayOut(t, { guarded });
      const url = `https://127.0.0.1:${port}/`;
      const [one, two] = [new AbortController(), new AbortController()];
      let [first, second] = [greeted(), undefined as ReturnType<typeof greeted> | undefined];
      const cancelled = send(url, { signal: one.signal });
      const { ended } = await first;
      second = greeted();
      const other = send(url, { signal: two.signal });
      const still = await second;
      one.abort('cancelled');
      assert.equal(await cancelled, 'aborted');
      await ended;
      first = greeted();
      assert.equal(await send(url, { timeoutMs: 200 }), 'attempt-timed-out');
      await (
        await first
      ).ended;
      const left = await Promise.race([
        still.ended.then(() => 'ended'),
        new Promise((resolve) => setImmediate(resolve)),
      ]);
      assert.equal(left, undefined, 'another attempt for the same place goes on');
      two.abort('stopping');
      assert.equal(await other, 'aborted');
      await still.ended;
    },
  );

  test(`${kind}: a request that was answered ends no connection that came later`, limits, async (t) => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {}).on('data', () => socket.write('HTTP/1.1 204 x\r\n\r\n'));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const { send } = wayOut(t, { guarded });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const abort = new AbortController();
    assert.equal(await send(url, { signal: abort.signal }), 204);
    await new Promise((resolve) => setImmediate(resolve));
    abort.abort('cancelled');
    assert.equal(await send(url, {}), 204);
    assert.equal(sockets.length, 1, 'the same connection');
  });
}

test('nobody waits for a name that is never found, neither a cancel nor the close', limits, async (t) => {
  let asked = (): void => {};
  const looking = new Promise<void>((resolve) => (asked = resolve));
  const { send, close } = wayOut(t, { guarded: true, resolve: () => (asked(), new Promise(() => {})) });
  const abort = new AbortController();
  const sent = send('http://slow.example/', { signal: abort.signal });
  await looking;
  abort.abort('cancelled');
  assert.equal(await sent, 'aborted');
  await close();
});
