// Being told: one connection for all that wait, taken up where it broke off, and nothing lost where it is not to be had.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationEvent, ServerFrame, WatchFrame } from '@waitless/protocol';
import { createClient, type SocketClass, WaitlessError } from './index.ts';
import { eventOf, type Peer, streamServer, watches } from './stream-server.test.ts';
import { json, problem, receipt } from './support.test.ts';

const native = typeof globalThis.WebSocket === 'function' ? false : 'there is no WebSocket in this Node';
const seams = { random: () => 0.1 };
const to = (frame: WatchFrame, told: ServerFrame): ServerFrame => ({ ...told, ref: frame.ref! });
const endOf = (frame: WatchFrame): ServerFrame => to(frame, eventOf(frame.operations[0]!, 3, 'succeeded'));
const endAll = (peer: Peer): void => peer.send(...watches(peer).map(endOf));
const looks = (seen: string[]): string[] => seen.filter((one) => one.startsWith('GET'));

test(
  'a hundred requests wait on one connection, each looks once, and it is closed after the last',
  { skip: native },
  async (t) => {
    const server = await streamServer(t);
    const client = createClient({ url: server.url, seams });
    const answers = Array.from({ length: 100 }, () => client.request('score', 'x'));
    await server.until(() => watches(server.peers[0]).length === 100);
    assert.deepEqual(looks(server.seen), [], 'nobody asks while it is told');
    assert.ok(watches(server.peers[0]).every(({ events }) => events === 'end'));
    endAll(server.peers[0]!);
    const ids = (await Promise.all(answers)).map((answer) => answer.text().replace('done ', ''));
    assert.equal(new Set(ids).size, 100);
    assert.equal(looks(server.seen).length, 100);
    await server.until(() => server.peers[0]!.socket.readyState === 3);
    assert.equal(server.peers.length, 1);
  },
);

test(
  'a server killed under fifty that wait: all are told by the next one, on one connection',
  { skip: native },
  async (t) => {
    const server = await streamServer(t);
    const retries: string[] = [];
    const client = createClient({ url: server.url, seams });
    const answers = Array.from({ length: 50 }, () =>
      client.request('score', 'x', { onRetry: (error) => retries.push(error.code) }),
    );
    await server.until(() => watches(server.peers[0]).length === 50);
    await server.kill();
    while (retries.length < 100) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(new Set(retries), new Set(['unreachable']));
    await server.start();
    await server.until(() => watches(server.peers[1]).length === 50);
    endAll(server.peers[1]!);
    assert.equal(new Set((await Promise.all(answers)).map((answer) => answer.text())).size, 50);
    assert.deepEqual([server.peers.length, looks(server.seen).length], [2, 50]);
  },
);

test(
  'where upgrades are refused it is polled, and the next request does not try again',
  { skip: native },
  async (t) => {
    let tried = 0;
    const server = await streamServer(t, {
      http(request, response) {
        if (!request.url!.startsWith('/v1/stream')) return false;
        tried++;
        problem(response, 400, 'invalid-parameter');
        return true;
      },
    });
    class Elsewhere extends globalThis.WebSocket {
      constructor(url: string, protocols?: string[]) {
        super(url.replace('/v1/stream', '/v1/stream/off'), protocols);
      }
    }
    const client = createClient({ url: server.url, seams, webSocket: Elsewhere });
    assert.equal((await client.request('score', 'x')).text(), 'done op1');
    assert.equal((await client.request('score', 'x')).text(), 'done op2');
    assert.deepEqual([server.peers.length, tried], [0, 1]);
  },
);

test('no WebSocket is tried where there is none, where it is not wanted, or past a fetch of the caller', async (t) => {
  const server = await streamServer(t);
  for (const options of [{ webSocket: false as const }, { fetch: globalThis.fetch }])
    assert.match((await createClient({ url: server.url, seams, ...options }).request('score', 'x')).text(), /^done/);
  const { WebSocket } = globalThis;
  Reflect.deleteProperty(globalThis, 'WebSocket');
  t.after(() => void (globalThis.WebSocket = WebSocket));
  assert.equal((await createClient({ url: server.url, seams }).request('score', 'x')).text(), 'done op3');
  assert.deepEqual([server.peers.length, server.seen.filter((one) => one.includes('stream'))], [0, []]);
});

test('a WebSocket that throws, as that of a browser for an API key, is done without', async (t) => {
  const server = await streamServer(t);
  let tried = 0;
  const Throwing = function () {
    tried++;
    throw new SyntaxError('no such subprotocol');
  } as unknown as SocketClass;
  const client = createClient({ url: server.url, apiKey: 'k', seams, webSocket: Throwing });
  assert.equal((await client.request('score', 'x')).text(), 'done op1');
  assert.equal(tried, 1);
});

test('the credential travels along: a key in its header, a token as a subprotocol', { skip: native }, async (t) => {
  const server = await streamServer(t, { frame: (frame, peer) => frame.type === 'watch' && peer.send(endOf(frame)) });
  await createClient({ url: server.url, seams, apiKey: 'secret' }).request('score', 'x');
  await createClient({ url: server.url, seams, token: 'AQ-_.mac' }).wait('op1');
  const [key, token] = server.peers.map(({ request }) => request.headers);
  assert.equal(key!.authorization, 'Bearer secret');
  assert.equal(key!['sec-websocket-protocol'], 'waitless.v1');
  assert.equal(token!['sec-websocket-protocol'], 'waitless.v1, waitless.token.AQ-_.mac');
});

test('an abort ends the waiting with its reason, and what was watched is not any more', { skip: native }, async (t) => {
  const server = await streamServer(t);
  const client = createClient({ url: server.url, seams });
  const controller = new AbortController();
  const reason = new Error('enough');
  const given = client.wait('op7', { signal: controller.signal });
  const other = client.wait('op8');
  await server.until(() => watches(server.peers[0]).length === 2);
  controller.abort(reason);
  await assert.rejects(given, reason);
  await server.until(() => server.peers[0]!.frames.some(({ type }) => type === 'unwatch'));
  assert.deepEqual(server.peers[0]!.frames.at(-1), { type: 'unwatch', operations: ['op7'], watch: '1' });
  await assert.rejects(client.wait('op9', { waitSeconds: 0.05 }), { code: 'not-finished' });
  endAll(server.peers[0]!);
  assert.equal((await other).text(), 'done op8');
});

test('a server that stays away longer than reconnectSeconds is unreachable', { skip: native }, async (t) => {
  const server = await streamServer(t);
  const clock = { now: 0 };
  const sleep = async (ms: number): Promise<void> => void (clock.now += ms);
  const client = createClient({ url: server.url, seams: { random: () => 1, now: () => clock.now, sleep } });
  const given = client.wait('op1', { reconnectSeconds: 10 });
  await server.until(() => watches(server.peers[0]).length === 1);
  await server.kill();
  await assert.rejects(given, { code: 'unreachable' });
  assert.ok(clock.now > 5_000 && clock.now < 15_000, String(clock.now));
});

test('events come once and in order over lost connections, each time after the last', { skip: native }, async (t) => {
  const server = await streamServer(t, {
    frame(frame, peer) {
      if (frame.type !== 'watch') return;
      const after = frame.after?.['op1'];
      const tell = (...versions: number[]): void => peer.send(...versions.map((one) => to(frame, eventOf('op1', one))));
      if (after === undefined) tell(1, 2);
      else if (after === 'op1_2') tell(2, 3, 3);
      else peer.send(to(frame, eventOf('op1', 4, 'succeeded')), to(frame, eventOf('op1', 5)));
      if (after !== 'op1_3') setImmediate(() => peer.socket.terminate());
    },
  });
  const versions: number[] = [];
  for await (const event of createClient({ url: server.url, seams }).events('op1'))
    versions.push((event as OperationEvent).version);
  assert.deepEqual(versions, [1, 2, 3, 4]);
  assert.deepEqual(
    server.peers.flatMap((peer) => watches(peer).map(({ after }) => after)),
    [undefined, { op1: 'op1_2' }, { op1: 'op1_3' }],
  );
});

test('a reset is passed on as the state as it is; after the last event there is none', { skip: native }, async (t) => {
  const operation = { ...receipt, status: 'running', version: 9, eventId: 'op1_9', done: false };
  const server = await streamServer(t, {
    frame(frame, peer) {
      if (frame.type !== 'watch') return;
      const over = { ...operation, done: true, version: 10, eventId: 'op1_10' };
      const reset = (state: object): ServerFrame =>
        to(frame, { type: 'reset', id: 'x', detail: 'why', operation: state } as unknown as ServerFrame);
      if (frame.after?.['op1'] === 'op1_10') peer.send(reset(over));
      else peer.send(reset(operation), to(frame, eventOf('op1', 10, 'succeeded')));
    },
  });
  const client = createClient({ url: server.url, seams });
  const told: string[] = [];
  for await (const event of client.events('op1', { after: 'op1_99' })) told.push(event.type);
  assert.deepEqual(told, ['reset', 'waitless.operation.succeeded']);
  for await (const event of client.events('op1', { after: 'op1_10' })) assert.fail(event.type);
});

test(
  'a gap, and an operation that this connection does not tell of, are asked for another way',
  { skip: native },
  async (t) => {
    const server = await streamServer(t, {
      http(request, response) {
        if (!request.url!.endsWith('/events')) return false;
        if (request.url!.includes('unknown')) problem(response, 404, 'not-found');
        else {
          assert.equal(request.headers['last-event-id'], 'op1_1');
          response.writeHead(200, { 'Content-Type': 'text/event-stream' });
          for (const version of [2, 3]) {
            const { event } = eventOf('op1', version, version === 3 ? 'succeeded' : 'running') as { event: object };
            response.write(`id: op1_${version}\ndata: ${JSON.stringify(event)}\n\n`);
          }
        }
        return true;
      },
      frame(frame, peer) {
        if (frame.type !== 'watch') return;
        const unknown = { type: 'error', id: 'unknown', problem: { status: 404, code: 'not-found' } };
        if (frame.operations[0] === 'unknown') peer.send(to(frame, unknown as unknown as ServerFrame));
        else peer.send(to(frame, eventOf('op1', 1)), to(frame, eventOf('op1', 3, 'succeeded')));
      },
    });
    const client = createClient({ url: server.url, seams });
    const versions: number[] = [];
    for await (const event of client.events('op1')) versions.push((event as OperationEvent).version);
    assert.deepEqual(versions, [1, 2, 3]);
    await assert.rejects(client.events('unknown')[Symbol.asyncIterator]().next(), { code: 'not-found' });
  },
);

test(
  'who does not read is not told any more until it has, and then goes on without a gap',
  { skip: native },
  async (t) => {
    const last = 2_500;
    const server = await streamServer(t, {
      frame(frame, peer) {
        if (frame.type !== 'watch') return;
        const from = Number(frame.after?.['op1']?.slice(4) ?? 0) + 1;
        const tell = Array.from({ length: last - from + 1 }, (_, index) => {
          const version = from + index;
          return to(frame, eventOf('op1', version, version === last ? 'succeeded' : 'running'));
        });
        peer.send(...tell);
      },
    });
    const versions: number[] = [];
    for await (const event of createClient({ url: server.url, seams }).events('op1'))
      versions.push((event as OperationEvent).version);
    assert.deepEqual([versions.length, versions.at(-1)], [last, last]);
    assert.ok(versions.every((version, index) => version === index + 1));
    const told = server.peers[0]!.frames.map(
      (frame) => `${frame.type} ${frame.type === 'watch' ? frame.after?.['op1'] : ''}`,
    );
    assert.deepEqual(told, ['watch undefined', 'unwatch ', 'watch op1_1000', 'unwatch ', 'watch op1_2000']);
  },
);

test(
  'several are watched as one sequence on one connection, and leaving it ends them all',
  { skip: native },
  async (t) => {
    const server = await streamServer(t, {
      http(request, response) {
        const id = /^\/v1\/operations\/(\w+)$/.exec(request.url!)?.[1];
        if (id === undefined) return false;
        json(response, 200, { ...receipt, id, status: 'queued', version: 1, eventId: `${id}_1`, done: false });
        return true;
      },
    });
    const client = createClient({ url: server.url, seams });
    const states: string[] = [];
    void server
      .until(() => watches(server.peers[0]).length === 2)
      .then(() => {
        const [a, b] = watches(server.peers[0]) as [WatchFrame, WatchFrame];
        const tell = (frame: WatchFrame, version: number, status: 'running' | 'succeeded'): ServerFrame =>
          to(frame, eventOf(frame.operations[0]!, version, status));
        server.peers[0]!.send(
          tell(a, 2, 'running'),
          tell(b, 2, 'running'),
          tell(b, 3, 'succeeded'),
          tell(a, 3, 'succeeded'),
        );
      });
    for await (const { id, status } of client.watch(['op1', 'op2', 'op1'])) states.push(`${id} ${status}`);
    for (const id of ['op1', 'op2'])
      assert.deepEqual(
        states.filter((one) => one.startsWith(id)),
        [`${id} queued`, `${id} running`, `${id} succeeded`],
      );
    assert.equal(states.length, 6);
    await server.until(() => server.peers[0]!.socket.readyState === 3);

    for await (const _ of client.watch(['op3', 'op4'])) break;
    await server.until(() => server.peers.every(({ socket }) => socket.readyState === 3));
    const failing = client.watch(['op5', 'op-unknown'])[Symbol.asyncIterator]();
    await assert.rejects(
      async () => {
        while (!(await failing.next()).done);
      },
      (error) => error instanceof WaitlessError && error.status === 404,
    );
  },
);
