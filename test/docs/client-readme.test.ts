// The examples in the client's README do what they say: each is taken out as it stands there and run against a real server.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort } from '../support/free-port.ts';
import { get, post, until } from '../support/http.ts';
import { resultOf, submit } from '../support/operations.ts';
import { serverFor, temporaryFolder } from '../support/server.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'packages/client/README.md'), 'utf8');
const examples = new Map(
  Array.from(page.matchAll(/<!-- run: ([\w.]+) -->\n```ts\n([^]*?)```/g), ([, name, source]) => [name!, source!]),
);

/** Runs an example in a folder that has the client and nothing of this repository around it. */
async function run(t: TestContext, folder: string, name: string, url: string) {
  return start(t, folder, { name, replaced: 'http://127.0.0.1:7878', by: url });
}

async function start(
  t: TestContext,
  folder: string,
  { name, replaced, by, env = {} }: { name: string; replaced: string; by: string; env?: Record<string, string> },
) {
  const source = examples.get(name);
  assert.ok(source, `the page has no ${name}`);
  assert.ok(source.includes(replaced), name);
  await writeFile(join(folder, name), source.replace(replaced, by));
  const child = spawn(process.execPath, ['--no-warnings', name], {
    cwd: folder,
    env: { PATH: process.env['PATH'], ...env },
  });
  t.after(() => child.kill('SIGKILL'));
  const printed = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed.out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (printed.err += text));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  return { child, printed, ended };
}

/** A folder that has the client and a library of schemas. */
async function folderFor(t: TestContext): Promise<string> {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'node_modules/@waitless'), { recursive: true });
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  await symlink(join(root, 'packages/client'), join(folder, 'node_modules/@waitless/client'));
  await symlink(join(root, 'node_modules/valibot'), join(folder, 'node_modules/valibot'));
  return folder;
}

test("the examples of the client's README, with the worker of the same page", { timeout: 60_000 }, async (t) => {
  const folder = await folderFor(t);

  const server = await serverFor(t, {
    services: { score: { target: { pull: true } } },
  });
  const worker = await run(t, folder, 'worker.ts', server.url);
  const expected = {
    'request.ts': /^200 \{ score: 700 \}\n$/,
    'failed.ts': /^backend-error 404 \{ why: 'no such customer' \}\n$/,
    'later.ts': /^score\n(?:(?:queued|running)\n)*succeeded\n\{"score":700\}\n$/,
    'contract.ts': /^701\n$/,
    'events.ts': /^orders\.placed order-17 \{ pizza: 'funghi' \}\n$/,
  };
  assert.deepEqual([...examples.keys()].toSorted(), [...Object.keys(expected), 'receiver.ts', 'worker.ts'].toSorted());
  await Promise.all(
    Object.entries(expected).map(async ([name, output]) => {
      const example = await run(t, folder, name, server.url);
      const code = await Promise.race([example.ended, worker.ended.then(() => 'the worker ended first')]);
      assert.equal(code, 0, `${name}: ${example.printed.err}${worker.printed.err}`);
      assert.match(example.printed.out, output, name);
    }),
  );
  worker.child.kill('SIGTERM');
  assert.equal(await worker.ended, 0, worker.printed.err);
  assert.equal(worker.printed.err, '');
});

test('the receiver of the page takes what the server signed, and refuses others', { timeout: 60_000 }, async (t) => {
  const secret = `whsec_${randomBytes(32).toString('base64')}`;
  const port = await freePort();
  const receiver = await start(t, await folderFor(t), {
    name: 'receiver.ts',
    replaced: '9001',
    by: String(port),
    env: { SCORE_SECRET: secret },
  });
  const url = `http://127.0.0.1:${port}`;
  await Promise.race([
    until(() => get(url).catch(() => undefined)),
    receiver.ended.then(() => assert.fail(receiver.printed.err)),
  ]);
  const server = await serverFor(t, { services: { score: { target: { url, secret } } } });
  const { id, result } = await submit(server.url, 'score', { body: 'x' });
  assert.equal((await resultOf(result)).text, `scored ${id}`);
  assert.equal((await post(url, { body: 'x' })).status, 401);
});
