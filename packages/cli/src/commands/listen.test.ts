// `listen`: what is signed is told, what is not is marked and refused, and no secret is printed.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { signWebhook } from '@waitless/client';
import { fakeServer, type Run, run, type RunOptions, sendJson } from '../support.test.ts';

const secret = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
const other = `whsec_${Buffer.alloc(32, 2).toString('base64')}`;
const now = Date.parse('2026-01-01T00:01:00Z');

const notice = (type: string, data: string): string =>
  `{"specversion":"1.0","type":"waitless.operation.${type}","data":{"id":"op1","correlationId":"c",${data}}}`;
const succeeded = notice(
  'succeeded',
  '"status":"succeeded","error":null,"result":{"status":200,"body":{"score": 1e999,\n"a":1}}',
);

interface Listening {
  url: string;
  stop: () => void;
  ended: Promise<Run>;
}

/** The command, once it listens. */
function listening(argv: readonly string[], options: RunOptions): Promise<Listening> {
  return new Promise((resolve, reject) => {
    let send: ((signal: NodeJS.Signals) => void) | undefined;
    const ended = run(['listen', ...argv], {
      ...options,
      onListening: (signals) => (send = signals),
      onStderr(text) {
        const url = /Callback-Url: (\S+?)'/.exec(text)?.[1];
        if (url !== undefined) resolve({ url, stop: () => send!('SIGTERM'), ended });
      },
    });
    ended.then(({ stderr }) => reject(new Error(`it ended: ${stderr}`)), reject);
  });
}

const post = (url: string, body: string, headers: Record<string, string>, method = 'POST'): Promise<number> =>
  new Promise((resolve, reject) => {
    const outgoing = httpRequest(url, { method, headers }, (response) => {
      response.resume();
      resolve(response.statusCode!);
    });
    outgoing.on('error', reject).end(method === 'POST' ? body : undefined);
  });
const signed = async (body: string, { id = 'op1_4', secrets = secret }: { id?: string; secrets?: string } = {}) =>
  signWebhook({ id, body, secrets, now });

async function fileWith(t: TestContext, text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'waitless-listen-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'callback.secret');
  await writeFile(file, text);
  return file;
}

test('a signed callback is printed and answered 204, an unsigned or altered one is marked and answered 401', async (t) => {
  const file = await fileWith(t, `${other}\n${secret}\n`);
  const { url, stop, ended } = await listening(['--secret-file', file], {});
  const progress = notice(
    'progress',
    '"status":"running","progress":{"sequence":1,"stage":"bureaus\\u001b[2J","percent":66.4}',
  );
  const failed = notice('failed', '"status":"failed","error":{"code":"no-paint","message":"we ran out"}');
  assert.equal(await post(url, progress, await signed(progress, { id: 'op1_3' })), 204);
  assert.equal(await post(url, succeeded, await signed(succeeded)), 204);
  assert.equal(await post(url, succeeded, await signed(succeeded)), 204);
  assert.equal(await post(url, failed, await signed(failed, { id: 'op1_5', secrets: other })), 204);
  assert.equal(await post(url, 'x', await signed('x', { id: 'm_1' })), 204);
  assert.equal(await post(url, succeeded, {}), 401);
  assert.equal(await post(url, `${succeeded} `, await signed(succeeded)), 401);
  const stranger = `whsec_${Buffer.alloc(32, 3).toString('base64')}`;
  assert.equal(await post(url, succeeded, await signed(succeeded, { secrets: stranger })), 401);
  assert.equal(await post(url, '', {}, 'GET'), 405);
  assert.equal(await post(url, 'x'.repeat(1_100_000), {}).catch(() => 413), 413);
  stop();
  const { code, stdout, stderr } = await ended;
  assert.equal(code, 0);
  const at = '2026-01-01T00:01:00.000Z';
  assert.deepEqual(stdout.split('\n'), [
    `${at}  op1  progress  bureaus, 66 %`,
    `${at}  op1  succeeded  200 {"score":null,"a":1}`,
    `${at}  op1  succeeded  200 {"score":null,"a":1}  sent again`,
    `${at}  op1  failed  no-paint: we ran out`,
    `${at}  m_1  signed, but no notice of ours`,
    `${at}  not verified  there is no webhook-id`,
    `${at}  not verified  no signature fits: another secret, or other bytes`,
    `${at}  not verified  no signature fits: another secret, or other bytes`,
    `${at}  not verified  larger than 1048576 bytes`,
    '',
  ]);
  assert.ok(!(stdout + stderr).includes(secret.slice(6)), 'no secret is printed');
});

test('--once ends after the first that is verified; --json has the notice as it came, on one line', async () => {
  const { url, ended } = await listening(['--once', '--json'], { env: { WAITLESS_CALLBACK_SECRET: secret } });
  assert.equal(await post(url, succeeded, {}), 401);
  assert.equal(await post(url, succeeded, await signed(succeeded)), 204);
  const { code, stdout } = await ended;
  assert.equal(code, 0);
  const [refused, told, ...more] = stdout.split('\n');
  assert.deepEqual(JSON.parse(refused!), {
    verified: false,
    receivedAt: '2026-01-01T00:01:00.000Z',
    reason: 'there is no webhook-id',
  });
  assert.match(told!, /"notice":\{.*"score": 1e999, "a":1\}/);
  const { notice: _, ...head } = JSON.parse(told!) as Record<string, unknown>;
  assert.deepEqual(head, {
    verified: true,
    receivedAt: '2026-01-01T00:01:00.000Z',
    id: 'op1_4',
    again: false,
    sentAt: '2026-01-01T00:01:00.000Z',
  });
  assert.deepEqual(more, ['']);
});

test('without a secret the server makes the first one; where there is one, it is only replaced when asked', async (t) => {
  let items: unknown[] = [];
  const { env, seen } = await fakeServer(t, ({ method }, response) =>
    sendJson(response, 200, method === 'GET' ? { items, next: null } : { id: 'cs_1', secret, previous: null }),
  );
  const sent = (): string[] => seen.splice(0).map(({ method, path, body }) => `${method} ${path} ${body.toString()}`);
  const first = await listening(['--once'], { env });
  assert.equal(await post(first.url, succeeded, await signed(succeeded)), 204);
  assert.ok(!(await first.ended).stderr.includes(secret.slice(6)));
  assert.deepEqual(sent(), ['GET /v1/callback-secrets ', 'POST /v1/callback-secrets/rotate {}']);
  items = [{}];
  const refused = await run(['listen'], { env });
  assert.deepEqual([refused.code, refused.stdout], [1, '']);
  assert.match(refused.stderr, /^waitless: there is a callback secret already.*--secret-file FILE.*--rotate\.\n/);
  assert.deepEqual(sent(), ['GET /v1/callback-secrets ']);
  const anew = await listening(['--rotate'], { env: { ...env, WAITLESS_CALLBACK_SECRET: other } });
  assert.equal(await post(anew.url, succeeded, await signed(succeeded)), 204);
  anew.stop();
  await anew.ended;
  assert.deepEqual(sent(), ['POST /v1/callback-secrets/rotate {}']);
});

test('secrets that are none, files that are not there, ports that are taken: one sentence and its exit code', async (t) => {
  const nearly = `${secret}x!`;
  for (const [argv, env, code, words] of [
    [['--secret-file', await fileWith(t, nearly)], {}, 78, /--secret-file: a callback secret is "whsec_"/],
    [['--secret-file', await fileWith(t, '')], {}, 78, /--secret-file: a callback secret is "whsec_"/],
    [['--secret-file', '/nowhere/at/all'], {}, 78, /--secret-file: there is no file/],
    [[], { WAITLESS_CALLBACK_SECRET: nearly }, 78, /WAITLESS_CALLBACK_SECRET: a callback secret is/],
    [['--rotate', '--secret-file', 'x'], {}, 2, /drop one of the two/],
    [['--port', '70000'], {}, 2, /whole number from 0 to 65535/],
    [['--secret', secret], {}, 2, /unknown option/],
  ] as const) {
    const refused = await run(['listen', ...argv], { env });
    assert.deepEqual([refused.code, refused.stdout], [code, ''], argv.join(' '));
    assert.match(refused.stderr, words);
    assert.ok(!refused.stderr.includes(secret.slice(6)));
  }
  const { url, stop, ended } = await listening([], { env: { WAITLESS_CALLBACK_SECRET: secret } });
  const taken = await run(['listen', '--port', new URL(url).port], { env: { WAITLESS_CALLBACK_SECRET: secret } });
  assert.equal(taken.code, 1);
  assert.match(taken.stderr, /^waitless: port \d+ is taken; give another with --port/);
  stop();
  await ended;
});
