// `submit`: what is sent, what is printed where, and what happens while somebody waits.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Operation } from '@waitless/client';
import { ended, type FakeServer, fakeServer, operation, run, sendJson } from '../support.test.ts';

const bytes = Buffer.from([0x00, 0xff, 0x0d, 0x0a, 0x7b]);

/** A server whose one operation goes through these states, one per look, and then has a result. */
function serverWith(
  t: TestContext,
  states: readonly Operation[],
  status: 'succeeded' | 'failed' = 'succeeded',
): Promise<FakeServer> {
  let next = 0;
  return fakeServer(t, ({ path }, response) => {
    if (path.startsWith('/v1/call/'))
      sendJson(response, 202, operation(), { 'Operation-Id': 'op1', 'Retry-After': '1' });
    else if (path.endsWith('/result')) {
      response.writeHead(status === 'failed' ? 404 : 200, {
        'Operation-Status': status,
        'Operation-Id': 'op1',
        'X-Backend': 'yes',
      });
      response.end(bytes);
    } else if (next < states.length) sendJson(response, 200, states[next], { ETag: `W/"${states[next++]!.version}"` });
    // Beyond the last state the poll is held for ever.
  });
}

test('prints the id alone on stdout and sends what was asked for', async (t) => {
  const { env, seen } = await serverWith(t, []);
  const argv = [
    'submit',
    'score',
    'a/b?x=1',
    '-X',
    'put',
    '-d',
    '{"n":1e999}',
    '-H',
    'X-One: 1',
    '-H',
    'X-One:2',
    '--idempotency-key',
    'k',
    '--correlation-id',
    'c',
    '--timeout',
    '10m',
    '--delay',
    '1s',
    '--start-by',
    '2m',
    '--priority',
    '9',
    '--label',
    'a=1',
    '--label',
    'b=x=y',
    '--durability',
    'memory',
  ];
  const { code, stdout, stderr } = await run(argv, { env });
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'op1\n', stderr: '' });
  const [request] = seen;
  assert.equal(request?.method, 'PUT');
  assert.equal(request.path, '/v1/call/score/a/b');
  assert.equal(request.query.get('x'), '1');
  assert.equal(request.body.toString(), '{"n":1e999}');
  const expected = {
    'content-type': 'application/json',
    'x-one': '1, 2',
    prefer: 'respond-async',
    'idempotency-key': '"k"',
    'correlation-id': 'c',
    'operation-timeout': '10m',
    'operation-delay': '1s',
    'operation-start-by': '2m',
    'operation-priority': '9',
    'operation-labels': 'a=1, b=x=y',
    'operation-durability': 'memory',
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(request.headers[name], value, name);
});

test('a request that the store answers at once prints its id too, and its result only with --wait', async (t) => {
  const { env } = await fakeServer(t, ({ path }, response) => {
    if (path.startsWith('/v1/operations/')) return sendJson(response, 200, ended('succeeded'));
    response.writeHead(200, {
      'Operation-Status': 'succeeded',
      'Operation-Id': 'op1',
      Age: '7',
      'Cache-Status': 'waitless; hit; ttl=42',
    });
    response.end(bytes);
  });
  assert.equal((await run(['submit', 'score'], { env })).stdout, 'op1\n');
  const json = await run(['submit', 'score', '--json'], { env });
  assert.equal((JSON.parse(json.stdout) as Operation).status, 'succeeded');
  const told = await run(['submit', 'score'], { env: { ...env, NO_COLOR: '1' }, tty: true });
  assert.match(told.stderr, /The result is stored already\. For the result: npx waitless result op1 --wait/);
  assert.deepEqual((await run(['submit', 'score', '--wait'], { env })).stdoutBytes, bytes);
});

test('the body comes from the command line, a file or stdin, with its media type unless given', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'waitless-cli-'));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'image.bin'), bytes);
  const { env, seen } = await serverWith(t, []);
  await run(['submit', 'score', '-d', '@image.bin'], { env, cwd: folder });
  await run(['submit', 'score', '-d', '-'], { env, stdin: 'grüße' });
  await run(['submit', 'score', '-d', '', '-H', 'content-type: text/csv'], { env });
  await run(['submit', 'score'], { env });
  assert.deepEqual(
    seen.map((one) => one.headers['content-type']),
    ['application/octet-stream', 'text/plain; charset=utf-8', 'text/csv', undefined],
  );
  assert.deepEqual(seen[0]?.body, bytes);
  assert.equal(seen[1]?.body.toString(), 'grüße');
  assert.ok(seen.every((one) => one.method === 'POST'));
});

test('a person is told how to come back, in a line that can be pasted; --json prints the receipt', async (t) => {
  const { url, env } = await serverWith(t, []);
  const told = await run(['submit', 'score', '--url', url], { tty: true, env: { NO_COLOR: '1' } });
  assert.equal(told.stdout, 'op1\n');
  assert.match(told.stderr, new RegExp(`npx waitless result op1 --wait --url ${url}\\n$`));
  const json = await run(['submit', 'score', '--json'], { env });
  assert.equal((JSON.parse(json.stdout) as Operation).id, 'op1');
});

test('--wait follows the operation on stderr and writes the result to stdout, byte for byte; a bare --wait leaves the service alone', async (t) => {
  const states = [
    operation({ status: 'queued' }),
    operation({ version: 2, attempt: 2, progress: { sequence: 1, stage: 'baking', percent: 40 } }),
    ended('succeeded'),
  ];
  const { env } = await serverWith(t, states);
  const { code, stdoutBytes, stderr } = await run(['submit', '--wait', 'score'], { env });
  assert.equal(code, 0);
  assert.deepEqual(stdoutBytes, bytes);
  assert.equal(stderr, 'queued\nrunning, attempt 2 of 5, baking, 40 %\nsucceeded\n');
});

test('--wait shows every stage as the stream of events tells it, and polls for none', async (t) => {
  const { env, seen } = await fakeServer(
    t,
    ({ path }, response) => {
      if (path.startsWith('/v1/call/')) sendJson(response, 202, operation(), { 'Operation-Id': 'op1' });
      else if (path.endsWith('/result'))
        response.writeHead(200, { 'Operation-Status': 'succeeded', 'Operation-Id': 'op1' }).end('done');
      else if (path.endsWith('/events')) {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' });
        const tell = (version: number, change: Record<string, unknown>): void => {
          const event = { version, eventId: `op1_${version}`, type: 'x', status: 'running', done: false, ...change };
          response.write(`id: op1_${version}\ndata: ${JSON.stringify(event)}\n\n`);
        };
        for (const [i, stage] of ['prep', 'bake', 'oven'].entries())
          tell(2 + i, { progress: { sequence: 1 + i, stage } });
        tell(5, { status: 'succeeded', done: true, finishedAt: '2026-01-01T00:00:03.000Z' });
      } else sendJson(response, 200, operation({ status: 'queued' }));
    },
    { streams: true },
  );
  const { code, stdout, stderr } = await run(['submit', '--wait', 'score'], { env });
  assert.equal(code, 0);
  assert.equal(stdout, 'done');
  assert.equal(stderr, 'queued\nrunning, prep\nrunning, bake\nrunning, oven\nsucceeded\n');
  assert.equal(seen.filter(({ path }) => path === '/v1/operations/op1').length, 1);
});

test('on a terminal the progress is a live bar that is gone at the end', async (t) => {
  const { promise: drawn, resolve: sawBar } = Promise.withResolvers<void>();
  const baking = operation({ progress: { sequence: 1, stage: 'baking\u001b[2J', percent: 40 } });
  const { env } = await fakeServer(t, ({ path, headers }, response) => {
    if (path.startsWith('/v1/call/')) sendJson(response, 202, operation(), { 'Operation-Id': 'op1' });
    else if (path.endsWith('/result'))
      response.writeHead(200, { 'Operation-Status': 'succeeded', 'Operation-Id': 'op1' }).end('done\n');
    else if (headers['if-none-match'] === undefined) sendJson(response, 200, baking, { ETag: 'W/"1"' });
    else void drawn.then(() => sendJson(response, 200, ended('succeeded')));
  });
  const { code, stdout, stderr } = await run(['submit', 'score', '--wait'], {
    env: { ...env, NO_COLOR: '1' },
    tty: true,
    onStderr: (text) => text.includes('40 %') && sawBar(),
  });
  assert.equal(code, 0);
  assert.equal(stdout, 'done\n');
  assert.match(stderr, /running, baking .*█+░+ 40 %/);
  assert.ok(!stderr.includes('\u001b[2J'), 'a backend must not clear the screen');
  assert.match(stderr, /succeeded after 3\.0 s\n$/);
});

test('on a terminal the queue and the time that is left are shown', async (t) => {
  const { promise: drawn, resolve: sawAll } = Promise.withResolvers<void>();
  // The clock of these tests says one minute past midnight.
  const waiting = operation({ status: 'queued', queuePosition: 3, estimatedCompletionAt: '2026-01-01T00:01:40.000Z' });
  const late = operation({ version: 2, estimatedCompletionAt: '2026-01-01T00:00:59.000Z' });
  const { promise: sawQueue, resolve: queueSeen } = Promise.withResolvers<void>();
  const { env } = await fakeServer(t, ({ path, headers }, response) => {
    if (path.startsWith('/v1/call/')) sendJson(response, 202, operation(), { 'Operation-Id': 'op1' });
    else if (path.endsWith('/result'))
      response.writeHead(200, { 'Operation-Status': 'succeeded', 'Operation-Id': 'op1' }).end('done\n');
    else if (headers['if-none-match'] === undefined) sendJson(response, 200, waiting, { ETag: 'W/"1"' });
    else if (headers['if-none-match'] === 'W/"1"')
      void sawQueue.then(() => sendJson(response, 200, late, { ETag: 'W/"2"' }));
    else void drawn.then(() => sendJson(response, 200, ended('succeeded')));
  });
  const { code, stderr } = await run(['submit', 'score', '--wait'], {
    env: { ...env, NO_COLOR: '1' },
    tty: true,
    onStderr: (text) => {
      if (text.includes('about 40 s left')) queueSeen();
      if (text.includes('longer than usual')) sawAll();
    },
  });
  assert.equal(code, 0);
  assert.match(stderr, /queued, 3 ahead .*about 40 s left/);
  assert.match(stderr, /running .*longer than usual/);
});

test("a failed operation's answer still goes to stdout, with exit code 1 and a line on stderr", async (t) => {
  const { env } = await serverWith(t, [ended('failed')], 'failed');
  const { code, stdout, stderr } = await run(['submit', 'score', '--wait', '-i'], { env });
  assert.equal(code, 1);
  assert.match(stdout, /^HTTP\/1\.1 404 Not Found\r\n(?:.*\r\n)*x-backend: yes\r\n/);
  assert.match(stderr, /waitless: the operation failed: the backend answered 404 Not Found\.\n$/);
});

test('Ctrl-C leaves the operation running and says how to come back, exit code 130', async (t) => {
  const { url } = await serverWith(t, [operation()]);
  let interrupt: () => void = () => undefined;
  const { code, stdout, stderr } = await run(['submit', 'score', '--wait', '--url', url], {
    onListening: (send) => (interrupt = () => send('SIGINT')),
    onStderr: (text) => text.includes('running') && interrupt(),
  });
  assert.equal(code, 130);
  assert.equal(stdout, '');
  assert.ok(stderr.includes(`Come back with: npx waitless result op1 --wait --url ${url}\n`), stderr);
  assert.ok(stderr.includes(`\`npx waitless watch op1 --url ${url}\` follows it`), stderr);
});

test('--wait SECONDS gives up in time and says how to come back, exit code 1', async (t) => {
  const { env } = await serverWith(t, [operation()]);
  const { code, stderr } = await run(['submit', 'score', '--wait', '0.01'], { env });
  assert.equal(code, 1);
  assert.match(
    stderr,
    /not done within 10 ms; the operation goes on\. Come back with: npx waitless result op1 --wait\n$/,
  );
});

test('-o writes the result to a file', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'waitless-cli-'));
  t.after(() => rm(folder, { recursive: true }));
  const { env } = await serverWith(t, [ended('succeeded')]);
  const { code, stdout } = await run(['submit', 'score', '--wait', '-o', 'out.bin'], { env, cwd: folder });
  assert.equal(code, 0);
  assert.equal(stdout, '');
  assert.deepEqual(await readFile(join(folder, 'out.bin')), bytes);
});

test('durability none is handed over without an id', async (t) => {
  const { env, seen } = await fakeServer(t, (_, response) => response.writeHead(202).end());
  const { code, stdout, stderr } = await run(['submit', 'score', '--durability', 'none'], { env });
  assert.equal(code, 0);
  assert.equal(stdout, '');
  assert.match(stderr, /nothing to look up/);
  assert.equal(seen[0]?.headers['prefer'], undefined);
});
