// docs/events.md does what it says: its examples are taken out as they stand there and run against a real server.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { serverFor, temporaryFolder } from '../support/server.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs/events.md'), 'utf8');
const examples = new Map(
  Array.from(page.matchAll(/<!-- run: ([\w.-]+) -->\n```\w+\n([^]*?)```/g), ([, name, source]) => [name!, source!]),
);

async function run(t: TestContext, words: readonly string[], options: { cwd: string; env?: NodeJS.ProcessEnv }) {
  const child = spawn(words[0]!, words.slice(1), {
    cwd: options.cwd,
    env: { PATH: process.env['PATH'], HOME: options.cwd, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const printed = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed.out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (printed.err += text));
  const [code] = (await once(child, 'close')) as [number | null];
  assert.deepEqual([code, printed.err], [0, '']);
  return printed.out;
}

test('the five minutes at the command line', { timeout: 60_000 }, async (t) => {
  const server = await serverFor(t);
  const command = `${process.execPath} ${join(root, 'packages/cli/bin/waitless.js')}`;
  const source = `set -e\n${examples.get('five-minutes.sh')!.replaceAll('npx waitless', command)}`;
  const cwd = await temporaryFolder(t);
  const lines = (await run(t, ['sh', '-c', source], { cwd, env: { WAITLESS_URL: server.url } })).trimEnd().split('\n');
  const [put, one, other, ...rest] = lines;
  assert.equal(put, 'history\tactive');
  assert.match(`${one} ${other}`, /^[0-9a-f]{32} [0-9a-f]{32}$/);
  const events = [
    '1\torders.placed\torders.placed\t\t{"pizza":"margherita"}',
    '2\torders.placed\torders.placed\torder-17\t{"pizza":"funghi"}',
  ];
  assert.deepEqual(rest, [...events, ...events, 'history\tactive\torders.**\tpull\t0\t0\t0']);
});

test('the same in a program', { timeout: 60_000 }, async (t) => {
  const server = await serverFor(t);
  const cwd = await temporaryFolder(t);
  await mkdir(join(cwd, 'node_modules/@waitless'), { recursive: true });
  await writeFile(join(cwd, 'package.json'), '{"type":"module"}');
  await symlink(join(root, 'packages/client'), join(cwd, 'node_modules/@waitless/client'));
  const source = examples.get('five-minutes.ts')!;
  assert.ok(source.includes('http://127.0.0.1:7878'));
  await writeFile(join(cwd, 'five-minutes.ts'), source.replace('http://127.0.0.1:7878', server.url));
  const printed = await run(t, [process.execPath, '--no-warnings', 'five-minutes.ts'], { cwd });
  assert.equal(printed, `mail about order-17: { pizza: 'funghi' }\norders.ready {"pizza":"funghi"}\n`);
});
