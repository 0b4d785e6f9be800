// What reaches a receiver, and what comes of receivers of every bad kind: an answer in time, little memory, and the same words whatever went wrong.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type IncomingHttpHeaders } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import tls from 'node:tls';
import { gzipSync } from 'node:zlib';
import type { Tried } from '../core/delivery-rules.ts';
import { mostAnswerBytes } from '../engine/deliveries.ts';
import { addressGuard, type GuardOptions } from './address.ts';
import { webhookTarget } from './webhook.ts';

const here = (address: string): boolean => address === '127.0.0.1';

interface WayOut {
  post: (url: string, more?: { signal?: AbortSignal; body?: Uint8Array }) => Promise<Tried>;
  logged: unknown[];
}

function wayOut(t: TestContext, { limitMs, ...guard }: Partial<GuardOptions> & { limitMs?: number } = {}): WayOut {
  const logged: unknown[] = [];
  const target = webhookTarget({
    guard: addressGuard({ isAllowed: here, ...guard }),
    ...(limitMs === undefined ? {} : { limitMs }),
    log: { info: (event, fields) => void logged.push({ event, ...fields }) },
  });
  t.after(() => target.close());
  return {
    logged,
    post: (url, { signal = new AbortController().signal, body = Buffer.from('{"told":true}') } = {}) =>
      target.post({ url, headers: [['Content-Type', 'application/json']], body, signal }),
  };
}

async function listening(t: TestContext, server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Somebody who does what they like with each connection, once a request has come in. */
const receiver = async (t: TestContext, answer: (socket: Socket) => void): Promise<string> =>
  `http://${await listening(
    t,
    createServer((socket) => socket.once('data', () => answer(socket))),
  )}/hook`;

/** Calls back when the client has read the header of the answer: a reset overtakes what was not read yet. */
function onceRead({ localPort }: Socket, done: () => void): void {
  const name = 'undici:request:headers';
  const look = (message: unknown): void => {
    const { request } = message as { request: { origin: string | URL } };
    if (new URL(request.origin).port !== String(localPort)) return;
    unsubscribe(name, look);
    done();
  };
  subscribe(name, look);
}

/** Writes as much as is taken, until there is nobody any more. */
function pour(socket: Socket, piece: (i: number) => string | Buffer, { everyMs = 0 } = {}): void {
  let i = 0;
  const on = (): void => {
    if (socket.destroyed) return;
    const taken = socket.write(piece(i++));
    if (everyMs > 0) setTimeout(on, everyMs);
    else if (taken) setImmediate(on);
    else socket.once('drain', on);
  };
  on();
}

test('a receiver gets the very bytes, the fields that were given, and no offer to compress', async (t) => {
  const seen: { headers: IncomingHttpHeaders; body: Buffer; method: string | undefined; url: string | undefined }[] =
    [];
  const server = createHttpServer((request, response) => {
    const { headers, method, url } = request;
    void buffer(request).then((body) => {
      seen.push({ headers, body, method, url });
      return response.writeHead(200, { 'Retry-After': '7' }).end('thank you');
    });
  });
  const place = await listening(t, server);
  const body = randomBytes(70_000);
  const { post } = wayOut(t);
  const tried = await post(`http://${place}/hook/a%2Fb?a=%20b`, { body });
  assert.deepEqual(tried, { kind: 'answered', status: 200, retryAfter: '7', answer: Buffer.from('thank you') });
  const [{ headers, ...rest }] = seen as [(typeof seen)[0]];
  assert.deepEqual(rest, { method: 'POST', url: '/hook/a%2Fb?a=%20b', body });
  assert.deepEqual(headers, {
    connection: 'keep-alive',
    'content-type': 'application/json',
    'content-length': '70000',
    host: place,
  });
});

test('T59: receivers of every bad kind', async (t) => {
  const failed = (code: string) => ({ kind: 'failed', code });
  const answered = (status: number, answer: string | Buffer) => ({
    kind: 'answered',
    status,
    retryAfter: undefined,
    answer: Buffer.from(answer),
  });
  const bomb = gzipSync(Buffer.alloc(50_000_000));
  const ok = (more: string): string => `HTTP/1.1 200 OK\r\n${more}`;
  /** Those that would go on for ever get a short time; the others are never kept waiting. */
  const table: [what: string, answer: (socket: Socket) => void, outcome: unknown, limitMs?: number][] = [
    ['never answers', () => {}, failed('timed-out'), 500],
    ['drips its header', (s) => pour(s, () => 'H', { everyMs: 50 }), failed('connection-failed')],
    [
      'drips a header that is right',
      (s) => pour(s, (i) => `${ok('X: ')}${'y'.repeat(1e4)}`[i]!, { everyMs: 20 }),
      failed('timed-out'),
      500,
    ],
    [
      'says 100 for ever',
      (s) => pour(s, () => 'HTTP/1.1 100 Continue\r\n\r\n', { everyMs: 1 }),
      failed('connection-failed'),
    ],
    ['gives early hints for ever', (s) => pour(s, () => 'HTTP/1.1 103 x\r\nL: y\r\n\r\n'), failed('timed-out'), 500],
    ['closes', (s) => s.end(), failed('connection-failed')],
    ['resets', (s) => s.resetAndDestroy(), failed('connection-failed')],
    ['speaks another protocol', (s) => s.end('-ERR unknown command\r\n'), failed('connection-failed')],
    [
      'switches protocols',
      (s) => s.write('HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'),
      failed('connection-failed'),
    ],
    ['has 10,000 header fields', (s) => s.write(`${ok('X: y\r\n'.repeat(10_000))}\r\n`), failed('connection-failed')],
    [
      'has a header without an end',
      (s) => pour(s, (i) => (i === 0 ? ok('X: ') : 'y'.repeat(10_000))),
      failed('connection-failed'),
    ],
    ['closes after its header', (s) => s.end(ok('Content-Length: 10\r\n\r\n')), answered(200, '')],
    ['breaks off in its body', (s) => s.end(`HTTP/1.1 500 x\r\nContent-Length: 10\r\n\r\nhalf`), answered(500, 'half')],
    [
      'resets in its body',
      (s) => {
        onceRead(s, () => s.resetAndDestroy());
        s.write(ok('Content-Length: 10\r\n\r\n'));
      },
      answered(200, ''),
    ],
    ['never begins its body', (s) => s.write(ok('Content-Length: 10\r\n\r\n')), answered(200, ''), 4000],
    ['never ends its body', (s) => s.write(ok('Content-Length: 10\r\n\r\nhalf')), answered(200, 'half'), 4000],
    [
      'has a body without an end',
      (s) => pour(s, (i) => (i === 0 ? ok('\r\n') : 'z'.repeat(10_000))),
      answered(200, 'z'.repeat(mostAnswerBytes)),
    ],
    [
      'sends a gzip bomb',
      (s) =>
        s.write(
          Buffer.concat([Buffer.from(ok(`Content-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`)), bomb]),
        ),
      answered(200, bomb.subarray(0, mostAnswerBytes)),
    ],
  ];
  const outcomes = await Promise.all(
    table.map(async ([what, answer, , limitMs]) => {
      const { post } = wayOut(t, limitMs === undefined ? {} : { limitMs });
      return [what, await post(await receiver(t, answer))];
    }),
  );
  assert.deepEqual(
    outcomes,
    table.map(([what, , outcome]) => [what, outcome]),
  );
});

test('T59: of a body of a gigabyte next to nothing is taken, and its connection is ended', async (t) => {
  let sent = 0;
  let closed = (): void => {};
  const ended = new Promise<void>((resolve) => (closed = resolve));
  const piece = Buffer.alloc(65_536, 'z');
  const url = await receiver(t, (socket) => {
    socket.on('close', closed);
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${2 ** 30}\r\n\r\n`);
    pour(socket, () => {
      sent = socket.bytesWritten;
      return piece;
    });
  });
  const tried = await wayOut(t).post(url);
  assert.ok(tried.kind === 'answered');
  assert.deepEqual([tried.status, tried.answer.length], [200, mostAnswerBytes]);
  // What is kept keeps nothing larger alive.
  assert.equal(tried.answer.buffer.byteLength, mostAnswerBytes);
  await ended;
  assert.ok(sent < 64 * 2 ** 20, `${sent} bytes were taken from the receiver`);
});

test('nothing that is told differs between a port that is closed, one that resets and one that speaks something else', async (t) => {
  const { post, logged } = wayOut(t);
  const gone = createServer();
  const closedPort = await listening(t, gone);
  await new Promise((resolve) => gone.close(resolve));
  const outcomes = [
    await post(`http://${closedPort}/`),
    await post(await receiver(t, (socket) => socket.resetAndDestroy())),
    await post(await receiver(t, (socket) => socket.end('SSH-2.0-x\r\n'))),
    await post(
      `https://${await listening(
        t,
        createServer((socket) => socket.end('no TLS')),
      )}/`,
    ),
  ];
  for (const outcome of outcomes) assert.deepEqual(outcome, { kind: 'failed', code: 'connection-failed' });
  // The operator's log has what the others are not told.
  assert.equal(logged.length, 4);
  assert.match(JSON.stringify(logged[0]), /callback\.unreachable.*ECONNREFUSED/);
});

test('a try that is ended from outside ends at once', async (t) => {
  const abort = new AbortController();
  const url = await receiver(t, () => abort.abort('stopping'));
  const tried = await wayOut(t).post(url, { signal: abort.signal });
  assert.equal(tried.kind, 'failed');
});

test('nobody waits for a name that is never found, neither a stop nor the close', { timeout: 10_000 }, async () => {
  let asked = (): void => {};
  const looking = new Promise<void>((resolve) => (asked = resolve));
  const target = webhookTarget({
    guard: addressGuard({ isAllowed: here, resolve: () => (asked(), new Promise(() => {})) }),
  });
  const abort = new AbortController();
  const tried = target.post({
    url: 'http://slow.example/',
    headers: [],
    body: Buffer.from('x'),
    signal: abort.signal,
  });
  await looking;
  abort.abort('stopping');
  assert.equal((await tried).kind, 'failed');
  await target.close();
});

test('redirects of every kind are answers and are not followed, and no proxy of the environment is asked', async (t) => {
  let canary = 0;
  const other = await listening(
    t,
    createServer((socket) => {
      canary++;
      socket.destroy();
    }),
  );
  const { post } = wayOut(t);
  for (const status of [300, 301, 302, 303, 307, 308]) {
    const url = await receiver(t, (socket) =>
      socket.end(
        `HTTP/1.1 ${status} x\r\nLocation: http://${other}/\r\nRefresh: 0; url=http://${other}/\r\nContent-Length: 0\r\n\r\n`,
      ),
    );
    const tried = await post(url);
    assert.equal(tried.kind === 'answered' && tried.status, status);
  }
  const before = { ...process.env };
  t.after(() => (process.env = before));
  for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'ALL_PROXY']) process.env[name] = `http://${other}`;
  process.env['NODE_USE_ENV_PROXY'] = '1';
  const fine = await receiver(t, (socket) => socket.end('HTTP/1.1 204 x\r\n\r\n'));
  const tried = await wayOut(t).post(fine);
  assert.equal(tried.kind === 'answered' && tried.status, 204);
  assert.equal(canary, 0);
});

test('S41, S44: where the guard says no nobody is called, however the name leads there; that is final', async (t) => {
  let connections = 0;
  let heard = 0;
  const server = createServer((socket) =>
    socket.on('data', () => {
      heard++;
      socket.end('HTTP/1.1 204 x\r\n\r\n');
    }),
  );
  server.on('connection', () => connections++);
  const place = await listening(t, server);
  const port = Number(place.split(':')[1]);
  const at = (address: string) => Promise.resolve([{ address, family: 4 }]);
  const blocked = { kind: 'failed', code: 'blocked' };
  const closed = { isAllowed: () => false };
  assert.deepEqual(await wayOut(t, closed).post(`http://127.0.0.1:${port}/`), blocked, 'an address');
  assert.deepEqual(await wayOut(t, closed).post(`http://2130706433:${port}/`), blocked, 'spelt otherwise');
  const rebound = wayOut(t, { ...closed, resolve: () => at('127.0.0.1') });
  assert.deepEqual(await rebound.post(`http://rebind.example:${port}/`), blocked, 'a name that leads there');
  const own = { isOwn: (host: string, to: number) => host === '127.0.0.1' && to === port };
  assert.deepEqual(await wayOut(t, own).post(`http://127.0.0.1:${port}/`), blocked, 'this server itself');
  assert.deepEqual(await wayOut(t).post('http://127.0.0.1:6379/'), blocked, 'a port of another protocol');
  assert.equal(connections, 0);
  const named = wayOut(t, { ...own, resolve: () => at('127.0.0.1') });
  // Only the connection tells that the name leads to this server: it is ended before a byte is sent.
  assert.deepEqual(await named.post(`http://self.example:${port}/`), blocked, 'this server by another name');
  assert.equal(heard, 0);
  assert.equal((await wayOut(t).post(`http://127.0.0.1:${port}/`)).kind, 'answered', 'positive control');
  assert.equal(heard, 1);
});

const noOpenssl = spawnSync('openssl', ['version']).error ? 'skipped: no openssl here' : false;

test('T59: certificates are always verified, whatever the environment says', { skip: noOpenssl }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'waitless-test-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const make = async (name: string, [from, to]: [string, string] = ['20200101000000Z', '20990101000000Z']) => {
    const at = (file: string): string => join(folder, `${name}.${file}`);
    const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', at('key')];
    openssl('req', '-new', ...key, '-subj', `/CN=${name}`, '-out', at('request'));
    const lines = `[ca]
      default_ca=own
      [own]
      database=${at('index')}
      serial=${at('serial')}
      new_certs_dir=${folder}
      default_md=sha256
      policy=any
      x509_extensions=names
      [any]
      commonName=supplied
      [names]
      subjectAltName=DNS:receiver.example`;
    await Promise.all([
      writeFile(at('config'), lines.replaceAll(/^ +/gm, '')),
      writeFile(at('index'), ''),
      writeFile(at('serial'), `${randomBytes(8).toString('hex')}\n`),
    ]);
    const own = ['-selfsign', '-keyfile', at('key'), '-startdate', from, '-enddate', to];
    openssl('ca', '-batch', '-notext', '-config', at('config'), ...own, '-in', at('request'), '-out', at('cert'));
    return { cert: await readFile(at('cert'), 'utf8'), key: await readFile(at('key'), 'utf8') };
  };
  const [trusted, stranger, expired] = [
    await make('trusted'),
    await make('stranger'),
    await make('expired', ['20200101000000Z', '20200201000000Z']),
  ];
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), trusted.cert, expired.cert]);
  let requests = 0;
  const urlOf = async (own: { cert: string; key: string }, name = 'receiver.example'): Promise<string> => {
    const server = createTlsServer(own, (_, response) => {
      requests++;
      response.writeHead(204).end();
    });
    return `https://${name}:${(await listening(t, server)).split(':')[1]}/`;
  };
  const resolve = () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]);
  const { post, logged } = wayOut(t, { resolve });
  const unreached = { kind: 'failed', code: 'connection-failed' };
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  t.after(() => delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']);
  assert.deepEqual(await post(await urlOf(stranger)), unreached, 'self-signed');
  assert.deepEqual(await post(await urlOf(trusted, 'other.example')), unreached, 'of another host');
  assert.deepEqual(await post(await urlOf(expired)), unreached, 'expired');
  assert.equal(requests, 0);
  assert.match(JSON.stringify(logged), /self-signed.*altnames.*expired/);
  const tried = await post(await urlOf(trusted));
  assert.equal(tried.kind === 'answered' && tried.status, 204, 'positive control');
});
