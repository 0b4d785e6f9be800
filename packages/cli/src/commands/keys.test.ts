// `keys new`: a key that works, its hash in the right place, and no file spoilt.
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { resolveConfig } from '@waitless/server';
import { run } from '../support.test.ts';

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'waitless-keys-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

const keyShape = /^wl_[\w-]{43}$/;

test('prints the key and the line for the key file, another one each time', async () => {
  const printed = [await run(['keys', 'new']), await run(['keys', 'new', '--name', 'ci', '--namespace', 'team-a'])];
  const seen = new Set<string>();
  for (const [index, { code, stdout, stderr }] of printed.entries()) {
    assert.deepEqual([code, stderr], [0, '']);
    const [key = '', line = '', ...more] = stdout.trimEnd().split('\n');
    assert.match(key, keyShape);
    assert.equal(line, `${index === 0 ? 'default default' : 'ci team-a'} ${hash('sha256', key)}`);
    assert.deepEqual(more, []);
    seen.add(key);
  }
  assert.equal(seen.size, 2);
  const { stdout } = await run(['keys', 'new', '--json']);
  const document = JSON.parse(stdout) as Record<string, string>;
  assert.equal(document['line'], `default default ${hash('sha256', document['key']!)}`);
});

test('--append keeps the file as a key file that a server takes, its owner alone reads it, and the key stands in it nowhere', async (t) => {
  const cwd = await folder(t);
  const first = await run(['keys', 'new', '--append', 'ops.keys'], { cwd });
  assert.equal((await stat(join(cwd, 'ops.keys'))).mode & 0o077, 0);
  // As an editor leaves it: a comment, and no line end behind the last line.
  const before = await readFile(join(cwd, 'ops.keys'), 'utf8');
  await writeFile(join(cwd, 'ops.keys'), `# ours\n\n${before.trimEnd()}`);
  const second = await run(['keys', 'new', '--append', 'ops.keys', '--name', 'b', '--namespace', 'n'], { cwd });
  const text = await readFile(join(cwd, 'ops.keys'), 'utf8');
  for (const { code, stdout } of [first, second]) {
    assert.equal(code, 0);
    assert.match(stdout.trimEnd(), keyShape);
    assert.ok(!text.includes(stdout.trimEnd()));
    assert.ok(text.includes(hash('sha256', stdout.trimEnd())));
  }
  const { config } = resolveConfig({ cwd, env: {}, options: { apiKeyFile: 'ops.keys', data: ':memory:' } });
  assert.deepEqual(
    config.keys?.map(({ name, namespace }) => `${name} ${namespace}`),
    ['default default', 'b n'],
  );
});

test('a file that is no key file is left as it is', async (t) => {
  const cwd = await folder(t);
  await writeFile(join(cwd, 'notes.txt'), 'buy milk\n');
  for (const [file, names] of [
    ['notes.txt', /--append: notes\.txt is no key file, and nothing was added to it/],
    ['.', /--append: .*folder/],
    ['none/ops.keys', /--append: there is no file/],
  ] as const) {
    const { code, stdout, stderr } = await run(['keys', 'new', '--append', file], { cwd });
    assert.equal(code, 78, stderr);
    assert.equal(stdout, '', 'no key that is worth nothing');
    assert.match(stderr, names);
  }
  assert.equal(await readFile(join(cwd, 'notes.txt'), 'utf8'), 'buy milk\n');
});

test('wrong words: exit code 2', async () => {
  for (const [argv, names] of [
    [['keys'], /missing required argument 'WHAT'/],
    [['keys', 'nwe'], /Allowed choices are new/],
    [['keys', 'new', '--name', 'a b'], /--name.*letters, digits/],
    [['keys', 'new', '--namespace', '../x'], /--namespace.*letters, digits/],
  ] as const) {
    const { code, stdout, stderr } = await run(argv);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, names);
  }
});
