// A worker on its WebSocket: its places are kept filled, every lease is answered once, and none is lost with the connection.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { ClientFrame, ServerFrame } from '@waitless/protocol';
import { createClient, type Handler, type WaitlessError, type Worker, type WorkerOptions } from './index.ts';
import { leaseOf } from './lease-server.test.ts';
import { type Peer, type Script, streamServer, type StreamServer } from './stream-server.test.ts';
import { json, problem } from './support.test.ts';

const native = typeof globalThis.WebSocket === 'function' ? false : 'there is no WebSocket in this Node';

interface WorkServer extends StreamServer {
  worker(handler: Handler, options?: WorkerOptions): Worker;
  /** Hands work out on the newest connection. */
  lease(...ids: string[]): void;
  /** Frames of a type, of all connections. */
  frames<T extends ClientFrame['type']>(type: T): Extract<ClientFrame, { type: T }>[];
}

/** Takes every answer, over HTTP too, unless `special` answers it. */
async function workServer(
  t: TestContext,
  special: (frame: ClientFrame, peer: Peer) => boolean | void = () => {},
  http: Script['http'] = () => false,
): Promise<WorkServer> {
  const server = await streamServer(t, {
    frame(frame, peer) {
      if (special(frame, peer) !== true && frame.ref !== undefined) peer.send({ type: 'ok', ref: frame.ref });
    },
    http(request, response) {
      if (http(request, response)) return true;
      if (!request.url!.startsWith('/v1/leases/')) return false;
      json(response, 200, { status: 'recorded' });
      return true;
    },
  });
  return {
    ...server,
    worker(handler, options = {}) {
      const worker = createClient({ url: server.url, seams: { random: () => 0.1 } }).worker('jobs', handler, options);
      t.after(() => worker.stop({ graceSeconds: 0 }).catch(() => {}));
      return worker;
    },
    lease(...ids) {
      const peer = server.peers.at(-1)!;
      const { ref } = peer.frames.find(({ type }) => type === 'work')!;
      peer.send(...ids.map((id): ServerFrame => ({ type: 'lease', ref: ref!, ...leaseOf(id) })));
    },
    frames: <T extends ClientFrame['type']>(type: T) =>
      server.peers.flatMap(({ frames }) => frames).filter((frame) => frame.type === type) as Extract<
        ClientFrame,
        { type: T }
      >[],
  };
}

const working = (server: WorkServer, connection = 1): Promise<void> =>
  server.until(() => server.peers[connection - 1]?.frames.some(({ type }) => type === 'work') === true);

test('work comes over the line and is answered there, and nothing over HTTP', { skip: native }, async (t) => {
  const server = await workServer(t);
  const worker = server.worker(
    async (job) => {
      await job.progress({ stage: 'half', percent: 50 });
      if (job.id === 'b') throw Object.assign(new Error('no paint'), { retry: false });
      return { status: 201, headers: { 'X-B': '2' }, body: job.text() };
    },
    { name: 'w1', concurrency: 3, leaseSeconds: 9 },
  );
  await working(server);
  server.lease('a', 'b');
  await server.until(() => server.frames('reply').length + server.frames('fail').length === 2);
  const [{ ref: _, ...work }] = server.frames('work') as [ClientFrame];
  assert.deepEqual(work, { type: 'work', service: 'jobs', credits: 3, leaseSeconds: 9, worker: 'w1' });
  const [{ ref: __, ...reply }] = server.frames('reply') as [ClientFrame];
  const headers = [['x-b', '2']];
  assert.deepEqual(reply, { type: 'reply', token: 't-a', status: 201, headers, bodyBase64: btoa('body a') });
  const [{ ref: ___, ...fail }] = server.frames('fail') as [ClientFrame];
  assert.deepEqual(fail, { type: 'fail', token: 't-b', code: 'handler-failed', message: 'no paint', retry: false });
  assert.deepEqual(
    server.frames('progress').map(({ token, stage, percent }) => [token, stage, percent]),
    [['t-a', 'half', 50], ['t-b', 'half', 50]],
  ); // prettier-ignore
  await worker.stop();
  assert.deepEqual(server.seen, []);
  assert.deepEqual(
    server.frames('work').map(({ credits }) => credits),
    [3, 0],
  );
  await server.until(() => server.peers[0]!.socket.readyState === 3);
});

test(
  'the heartbeat goes over the line, and a cancel is heard there; the place is free again',
  { skip: native },
  async (t) => {
    const server = await workServer(t, (frame, peer) => {
      if (frame.type !== 'extend') return false;
      if (server.frames('extend').length < 3) return false;
      const refused = {
        type: 'error',
        ref: frame.ref!,
        problem: { status: 409, code: 'cancelled', title: 'x', type: 'x' },
      };
      peer.send(refused as ServerFrame);
      return true;
    });
    const reasons: string[] = [];
    server.worker(
      async ({ signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        reasons.push((signal.reason as WaitlessError).code);
      },
      { leaseSeconds: 0.06 },
    );
    await working(server);
    server.lease('a');
    await server.until(() => server.frames('release').length === 1);
    assert.deepEqual(reasons, ['cancelled']);
    assert.deepEqual(server.frames('reply'), []);
    assert.deepEqual(server.seen, []);
  },
);

test('what is too large for the line goes over HTTP, and a reply frees its place', { skip: native }, async (t) => {
  const server = await workServer(t);
  server.worker(async ({ progress }) => {
    await progress({ data: 'x'.repeat(300_000) });
    return new Uint8Array(200_000);
  });
  await working(server);
  server.lease('a');
  await server.until(() => server.frames('release').length === 1);
  assert.deepEqual(server.seen, ['POST /v1/leases/t-a/progress', 'POST /v1/leases/t-a/reply']);
  assert.deepEqual([server.frames('release')[0]!.token, server.frames('reply').length], ['t-a', 0]);
});

test(
  'a killed server: what was answered arrives, what is not ours any more is stopped, and work goes on',
  { skip: native },
  async (t) => {
    const lost = (path: string): boolean => path.includes('/t-gone/');
    const server = await workServer(
      t,
      // An answer that was on its way is never heard of.
      (frame) => frame.type === 'reply' && frame.token === 't-a',
      (request, response) => {
        if (!lost(request.url!)) return false;
        problem(response, 409, 'lease-lost');
        return true;
      },
    );
    const ended: string[] = [];
    let goOn!: () => void;
    const gate = new Promise<void>((resolve) => (goOn = resolve));
    const worker = server.worker(
      async ({ id, signal }) => {
        if (id === 'gone') {
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          ended.push((signal.reason as WaitlessError).code);
        } else if (id === 'kept') await gate;
        return id;
      },
      { concurrency: 5 },
    );
    await working(server);
    server.lease('a', 'gone', 'kept');
    await server.until(() => server.frames('reply').length === 1);
    await server.kill();
    await server.start();
    await working(server, 2);
    await server.until(() => server.seen.includes('POST /v1/leases/t-a/reply') && server.seen.some(lost));
    await server.until(() => server.frames('work').some(({ credits }) => credits === 4));
    assert.deepEqual(ended, ['lease-lost']);
    assert.ok(server.seen.includes('POST /v1/leases/t-kept/extend'), 'what is held is asked for at once');
    goOn();
    await server.until(() => server.seen.includes('POST /v1/leases/t-kept/reply'));
    await server.until(() => server.frames('work').at(-1)!.credits === 5);
    server.lease('new');
    await server.until(() => server.frames('reply').some(({ token }) => token === 't-new'));
    await worker.stop();
  },
);

test('what nobody keeps is answered on the line alone', { skip: native }, async (t) => {
  const server = await workServer(t);
  const worker = server.worker(async ({ progress }) => progress({ stage: 'x' }));
  await working(server);
  const { ref } = server.frames('work')[0]!;
  server.peers[0]!.send({ type: 'lease', ref: ref!, ...leaseOf('a'), token: 'none.1' });
  await server.until(() => server.frames('reply').length === 1);
  assert.equal(server.frames('reply')[0]!.token, 'none.1');
  await worker.stop();
  assert.deepEqual([server.seen, server.frames('progress')], [[], []]);
});

test('stop gives back what does not end, on the line', { skip: native }, async (t) => {
  const server = await workServer(t);
  let begun!: () => void;
  const running = new Promise<void>((resolve) => (begun = resolve));
  const worker = server.worker(() => new Promise(() => begun()));
  await working(server);
  server.lease('a');
  await running;
  await worker.stop({ graceSeconds: 0 });
  assert.deepEqual(
    server.frames('release').map(({ token }) => token),
    ['t-a'],
  );
  assert.deepEqual(server.seen, []);
});

test(
  'a service that there is not ends the worker; one that is told to wait asks again',
  { skip: native },
  async (t) => {
    let asked = 0;
    const server = await workServer(t, (frame, peer) => {
      if (frame.type !== 'work') return false;
      const [status, code] = ++asked === 1 ? [429, 'too-many-connections'] : [404, 'unknown-service'];
      peer.send({ type: 'error', ref: frame.ref!, problem: { status, code, title: code, type: 'x' } });
      return true;
    });
    const retries: string[] = [];
    const worker = server.worker(() => 'x', { onRetry: (error) => retries.push(error.code) });
    await assert.rejects(worker.done, { code: 'unknown-service' });
    assert.deepEqual(retries, ['too-many-connections']);
  },
);
