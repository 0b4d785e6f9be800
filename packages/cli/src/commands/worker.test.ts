// `worker --exec`: any program as a worker of a real server, whatever way it ends.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createClient, type Operation, type WaitlessClient } from '@waitless/client';
import { resolveConfig, startServer } from '@waitless/server';
import { run, type Run } from '../support.test.ts';

/** A shell and its tools are what this is about. */
const skip = process.platform === 'win32' ? 'the commands of these tests are for a POSIX shell' : false;

const environment = Object.fromEntries(
  Object.entries(process.env).filter((entry): entry is [string, string] => !entry[0].startsWith('WAITLESS_')),
);

async function serverFor(t: TestContext): Promise<WaitlessClient> {
  const retry = { maxAttempts: 3, initialDelay: '0s' };
  const document = { logLevel: 'silent', services: { jobs: { target: { pull: true }, retry } } };
  const options = { port: '0', data: ':memory:' };
  const server = await startServer(resolveConfig({ cwd: tmpdir(), env: {}, document, options }).config);
  t.after(() => server.stop());
  return createClient({ url: server.url });
}

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'waitless-worker-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

interface Working {
  ended: Promise<Run>;
  send: (signal: NodeJS.Signals) => void;
  /** Resolves when stderr has this, so many times. */
  said: (text: string, times?: number) => Promise<void>;
}

/** Starts the command; the test ends it. */
function start(client: WaitlessClient, argv: readonly string[], cwd = tmpdir()): Working {
  let stderr = '';
  let send: Working['send'] = () => assert.fail('the worker does not listen for signals yet');
  const waiting: (() => void)[] = [];
  const ended = run(['worker', 'jobs', '--url', client.url, ...argv], {
    env: environment,
    cwd,
    onListening: (to) => (send = to),
    onStderr: (text) => {
      stderr += text;
      for (const look of waiting) look();
    },
  });
  const said: Working['said'] = (text, times = 1) =>
    new Promise((resolve) => {
      const look = (): void => void (stderr.split(text).length > times && resolve());
      waiting.push(look);
      look();
    });
  return { ended, send: (signal) => send(signal), said };
}

async function submit(client: WaitlessClient, path: string, body: string | Uint8Array): Promise<string> {
  const outcome = await client.submit('jobs', {
    path,
    body: typeof body === 'string' ? Buffer.from(body) : body,
    correlationId: 'c-1',
  });
  assert.ok(outcome.kind === 'accepted' && outcome.operation);
  return outcome.operation.id;
}

async function endOf(client: WaitlessClient, id: string): Promise<Operation> {
  let last: Operation | undefined;
  for await (const operation of client.watch(id)) last = operation;
  return last!;
}

test('the body is its input, what it prints is the result, its environment says the rest', { skip }, async (t) => {
  const client = await serverFor(t);
  const cwd = await folder(t);
  await writeFile(join(cwd, 'echo.sh'), 'cat; env | grep ^WAITLESS_ | sort >&2\n');
  const worker = start(client, ['--exec', 'sh echo.sh', '--content-type', 'application/x-own'], cwd);
  const bytes = Buffer.from([0, 255, 13, 10, 7]);
  const id = await submit(client, '/a/b?x=1', bytes);
  const result = await client.wait(id);
  assert.deepEqual(Buffer.from(result.bytes), bytes);
  assert.equal(result.headers.get('content-type'), 'application/x-own');
  worker.send('SIGTERM');
  const { code, stdout, stderr } = await worker.ended;
  assert.equal(code, 0, stderr);
  assert.equal(stdout, '');
  for (const line of [
    `WAITLESS_OPERATION_ID=${id}`,
    'WAITLESS_CORRELATION_ID=c-1',
    'WAITLESS_SERVICE=jobs',
    'WAITLESS_ATTEMPT=1',
    'WAITLESS_LAST_ATTEMPT=false',
    'WAITLESS_METHOD=POST',
    'WAITLESS_PATH=/a/b',
    'WAITLESS_QUERY=x=1',
  ])
    assert.ok(stderr.split('\n').includes(line), `${line} in\n${stderr}`);
  assert.match(stderr, /^WAITLESS_DEADLINE=20\d\d-.*Z$/m);
  assert.match(stderr, new RegExp(`^${id} {2}done after`, 'm'));
});

test('the media type of what it prints is looked at where none is given', { skip }, async (t) => {
  const client = await serverFor(t);
  const worker = start(client, ['--exec', 'cat', '--concurrency', '3']);
  const types = await Promise.all(
    ['{"a":1}', 'grüße', Buffer.from([0xff])].map(async (body) =>
      (await client.wait(await submit(client, '/', body))).headers.get('content-type'),
    ),
  );
  assert.deepEqual(types, ['application/json', 'text/plain; charset=utf-8', 'application/octet-stream']);
  worker.send('SIGINT');
  assert.equal((await worker.ended).code, 0);
});

test(
  'exit codes: another than 0 fails for good with the last line of stderr, 75 and a kill are tried again',
  { skip },
  async (t) => {
    const client = await serverFor(t);
    const script =
      'case $WAITLESS_PATH$WAITLESS_ATTEMPT in (/bad*) echo first >&2; echo "no such customer" >&2; exit 3;; (/busy1) exit 75;; (/dies1) kill -9 $$;; esac; echo fine';
    const worker = start(client, ['--exec', script]);
    const ids = await Promise.all(['/bad', '/busy', '/dies'].map((path) => submit(client, path, '')));
    const [bad, busy, dies] = (await Promise.all(ids.map((id) => endOf(client, id)))) as [
      Operation,
      Operation,
      Operation,
    ];
    assert.equal(bad.status, 'failed');
    assert.equal(bad.attempt, 1, 'a repeat would give the same');
    assert.equal(bad.error?.message, 'no such customer (exit code 3)');
    for (const one of [busy, dies]) assert.deepEqual([one.status, one.attempt], ['succeeded', 2]);
    worker.send('SIGTERM');
    const { stderr } = await worker.ended;
    assert.match(stderr, /failed after .*: no such customer \(exit code 3\)/);
    assert.match(stderr, /to be tried again after .*: \(killed by SIGKILL\)/);
  },
);

test('a command that cannot be run ends the worker before it has failed a queue of jobs', { skip }, async (t) => {
  const client = await serverFor(t);
  const ids = await Promise.all(['/1', '/2', '/3'].map((path) => submit(client, path, '')));
  const { code, stderr } = await start(client, ['--exec', 'no-such-command-here']).ended;
  assert.equal(code, 1);
  assert.match(stderr, /^waitless: --exec: the command cannot be run: .*no-such-command-here.*\(exit code 127\)$/m);
  const states = await Promise.all(ids.map(async (id) => (await client.get(id)).operation));
  assert.ok(
    states.every(({ done }) => !done),
    JSON.stringify(states.map(({ status }) => status)),
  );
});

test('a cancelled job ends the command and everything it has started', { skip }, async (t) => {
  const client = await serverFor(t);
  const cwd = await folder(t);
  // The inner one notes its end; without the group it would live on.
  await writeFile(
    join(cwd, 'long.sh'),
    `sh -c 'trap "echo ended > ended; exit" TERM; echo begun >&2; while :; do sleep 0.05; done' & wait\n`,
  );
  const worker = start(client, ['--exec', 'sh long.sh', '--lease', '300ms'], cwd);
  const id = await submit(client, '/', '');
  await worker.said('begun');
  await client.cancel(id);
  // The one job at a time is over, so the next can be taken.
  const next = await submit(client, '/', '');
  await worker.said('begun', 2);
  assert.equal(await readFile(join(cwd, 'ended'), 'utf8'), 'ended\n');
  await client.cancel(next);
  worker.send('SIGTERM');
  assert.equal((await worker.ended).code, 0);
});

test(
  'asked to stop it finishes what runs and takes nothing more; beyond its grace the job goes back',
  { skip },
  async (t) => {
    const client = await serverFor(t);
    const cwd = await folder(t);
    const script = 'echo begun >&2; while [ ! -e go ]; do sleep 0.02; done; echo finished';
    const worker = start(client, ['--exec', script], cwd);
    const [first, second] = [await submit(client, '/', ''), await submit(client, '/', '')];
    await worker.said('begun');
    worker.send('SIGTERM');
    await worker.said('Finishing what runs');
    assert.ok(!existsSync(join(cwd, 'go')));
    await writeFile(join(cwd, 'go'), '');
    assert.equal((await worker.ended).code, 0);
    assert.equal((await client.get(first)).operation.status, 'succeeded');
    assert.equal((await client.get(second)).operation.status, 'queued');

    await rm(join(cwd, 'go'));
    const hasty = start(client, ['--exec', script, '--grace', '1ms'], cwd);
    await hasty.said('begun');
    hasty.send('SIGINT');
    assert.equal((await hasty.ended).code, 0);
    const { operation } = await client.get(second);
    assert.deepEqual([operation.status, operation.done], ['queued', false]);
    await client.cancel(second);
  },
);

test('a second signal ends the process at once, and the command with it', { skip }, async (t) => {
  const client = await serverFor(t);
  const worker = start(client, ['--exec', 'echo begun >&2; while :; do sleep 0.02; done']);
  const id = await submit(client, '/', '');
  await worker.said('begun');
  worker.send('SIGTERM');
  // The terminal of these tests throws instead of ending the process.
  assert.throws(() => worker.send('SIGTERM'), /exit 143/);
  // Nothing but its death ends this command.
  assert.match((await worker.ended).stderr, /killed by SIGKILL/);
  await client.cancel(id);
});

test('a service that is not there', { skip }, async (t) => {
  const client = await serverFor(t);
  const { code, stderr } = await run(['worker', 'jbos', '--exec', 'cat', '--url', client.url], { env: environment });
  assert.equal(code, 1);
  assert.match(stderr, /^waitless: .*jbos/m);
});
