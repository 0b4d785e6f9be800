// `serve` and `dev` as processes: what they print first, how they end, and whether every line that `dev` prints works as printed.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const bin = fileURLToPath(new URL('../../bin/waitless.js', import.meta.url));

/** The environment without what a developer's shell may say to Waitless. */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WAITLESS_')));

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'waitless-cli-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

interface Started {
  child: ChildProcess;
  url: string;
  /** Every line of stdout so far. */
  lines: string[];
  /** Resolves once a line matches. */
  line: (pattern: RegExp) => Promise<string>;
  ended: Promise<[code: number | null, signal: NodeJS.Signals | null]>;
}

/** Starts a server command and waits for its first line. */
async function start(
  t: TestContext,
  argv: readonly string[],
  cwd: string,
  more: Readonly<Record<string, string>> = {},
): Promise<Started> {
  const env = { ...environment, ...more };
  const child = spawn(process.execPath, [bin, ...argv], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'exit') as Started['ended'];
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  const tell = (): void => waiting.forEach((look) => look());
  createInterface(child.stdout).on('line', (text) => {
    lines.push(text);
    tell();
  });
  let over = false;
  void ended.then(() => {
    over = true;
    tell();
  });
  const line = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const found = lines.find((text) => pattern.test(text));
        if (found === undefined && !over) return;
        waiting.delete(look);
        if (found === undefined) reject(new Error(`ended before ${pattern}: ${lines.join('\n')}\n${errors}`));
        else resolve(found);
      };
      waiting.add(look);
      look();
    });
  const first = await line(/./);
  const url = /https?:\/\/\S+/.exec(first)?.[0];
  assert.ok(url !== undefined, `the first line has the URL: ${first}`);
  return { child, url, lines, line, ended };
}

/** Runs to the end. */
async function ran(argv: readonly string[], cwd: string): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    return { code: 0, ...(await promisify(execFile)(process.execPath, [bin, ...argv], { cwd, env: environment })) };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

test('serve prints its URL first, then where data and services are, takes work, and ends with 0 on SIGTERM', async (t) => {
  const cwd = await folder(t);
  const server = await start(t, ['serve', '--port', '0', '--data', 'store', '--pull', 'jobs'], cwd);
  assert.match(server.lines[0]!, /^Waitless \d+\.\d+\.\d+ listening on http:\/\/127\.0\.0\.1:\d+$/);
  assert.match(await server.line(/^ {2}data /), /store \(flag --data\)$/);
  assert.match(await server.line(/^ {2}services /), /jobs → pull workers$/);
  await server.line(/no API key/);
  const submitted = await ran(['submit', 'jobs', '-d', 'x', '--url', server.url], cwd);
  assert.equal(submitted.code, 0, submitted.stderr);
  const got = await ran(['get', submitted.stdout.trim(), '--json', '--url', server.url], cwd);
  assert.equal((JSON.parse(got.stdout) as { status: string }).status, 'queued');
  server.child.kill('SIGTERM');
  assert.deepEqual(await server.ended, [0, null]);
});

test('--print-config prints and exits with 0; help lists every option', async (t) => {
  const cwd = await folder(t);
  const printed = await ran(['serve', '--port', '1234', '--print-config'], cwd);
  assert.equal(printed.code, 0, printed.stderr);
  assert.match(printed.stdout, /^port: 1234 +# flag --port$/m);
  const help = await ran(['serve', '--help'], cwd);
  assert.match(help.stdout, /^Examples:/);
  for (const flag of [
    '--host',
    '--port',
    '--data',
    '--config',
    '--target',
    '--pull',
    '--api-key-file',
    '--print-config',
  ])
    assert.ok(help.stdout.includes(`${flag} `), flag);
});

test('bad configuration exits with 78 and names the field; a taken port is told', async (t) => {
  const cwd = await folder(t);
  for (const [argv, expected] of [
    [['--port', 'x'], /^waitless: --port: /],
    [['--target', 'nonsense'], /^waitless: --target/],
    [['--host', '0.0.0.0'], /^waitless: --host: .*--api-key-file/],
    [['--config', 'none.yaml'], /^waitless: .*none\.yaml/],
  ] as const) {
    const { code, stdout, stderr } = await ran(['serve', '--data', ':memory:', ...argv], cwd);
    assert.equal(code, 78, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, expected);
    assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
  }
  const other = createServer();
  other.listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.after(() => other.close());
  const { port } = other.address() as AddressInfo;
  const { code, stderr } = await ran(['serve', '--data', ':memory:', '--port', String(port)], cwd);
  assert.equal(code, 1, stderr);
  assert.match(stderr, new RegExp(`^waitless: port ${port} on 127\\.0\\.0\\.1 is taken.*--port`));
});

test('dev: every line it prints works as printed', async (t) => {
  const cwd = await folder(t);
  const server = await start(t, ['dev', '--port', '0'], cwd);
  await server.line(/curl .*\/v1\/operations/);
  const lines = server.lines.map((text) => text.trim()).filter((text) => /^(npx waitless|curl) /.test(text));
  assert.ok(lines.length >= 8, lines.join('\n'));
  const hasCurl = await promisify(execFile)('curl', ['--version']).then(
    () => true,
    () => false,
  );
  if (!hasCurl) t.diagnostic('skipped the curl lines: no curl here');
  const type = async (text: string): Promise<{ text: string; stdout: string }> => {
    // The command of this tree in place of one that npx would look for; -sf makes curl's exit code tell of the answer's status.
    const script = text.replace(/^npx waitless/, `"${process.execPath}" "${bin}"`).replace(/^curl/, 'curl -sf');
    return { text, ...(await promisify(execFile)('sh', ['-c', script], { cwd, env: environment })) };
  };
  const typed = lines.filter((text) => hasCurl || !text.startsWith('curl'));
  // Those about the score tell a story and are typed one after the other, as they stand there.
  const aboutScore = typed.filter((text) => text.includes('score'));
  const story = async (): Promise<{ text: string; stdout: string }[]> => {
    const told: { text: string; stdout: string }[] = [];
    for (const text of aboutScore) told.push(await type(text));
    return told;
  };
  const others = typed.filter((text) => !aboutScore.includes(text));
  const results = (await Promise.all([story(), ...others.map(type)])).flat();
  const output = (pattern: RegExp): string[] =>
    results.filter(({ text }) => pattern.test(text)).map(({ stdout }) => stdout);
  const [score] = output(/^npx waitless submit score/);
  assert.match(score!, /"customerId":"42","score":\d{3}/);
  if (hasCurl) {
    const [first, again] = output(/^curl .*-i .*call\/score/);
    assert.match(first!, /^HTTP\/1\.1 202/);
    for (const stored of [again!, output(/results\/42/)[0]!]) {
      assert.match(stored, /^HTTP\/1\.1 200 OK\r\n[^]*\r\nCache-Status: waitless; hit; ttl=\d+\r\n/);
      assert.match(stored, /\r\nAge: \d+\r\n/);
      assert.ok(stored.endsWith(`\r\n\r\n${score!}`), stored);
    }
    assert.match(output(/leases/)[0]!, /"leases":\[\{"token"/);
  }
  assert.match(output(/^npx waitless submit pizza-oven/)[0]!, /"pizza":"ready"/);
  server.child.kill('SIGINT');
  assert.deepEqual(await server.ended, [0, null]);
});

test('dev keeps its hands off a service of the same name, and off a key that was given for its own', async (t) => {
  const cwd = await folder(t);
  const kept = /results\/42/;
  for (const [argv, env] of [
    [['--target', 'score=http://127.0.0.1:1'], {}],
    [['--key', 'score=query:customer'], {}],
    [[], { WAITLESS_KEY: 'score=query:customer' }],
  ] as const) {
    const server = await start(t, ['dev', '--port', '0', ...argv], cwd, env);
    await server.line(/curl .*\/v1\/operations/);
    assert.ok(!server.lines.some((text) => kept.test(text)));
    const { document } = (await (await fetch(`${server.url}/v1/services/score`)).json()) as {
      document: Record<string, unknown>;
    };
    assert.deepEqual(document['key'], argv[0] === '--target' ? undefined : { query: 'customer' });
    assert.equal(document['validFor'], undefined);
  }
});

test('dev takes a free port where 7878 is taken and none was asked for', async (t) => {
  const cwd = await folder(t);
  const first = await start(t, ['dev'], cwd);
  const second = await start(t, ['dev'], cwd);
  assert.notEqual(first.url, second.url);
  await second.line(new RegExp(`npx waitless submit score .* --url ${second.url}$`));
});

test('dev stays in memory, whichever store the environment and the file name', async (t) => {
  const cwd = await folder(t);
  await writeFile(join(cwd, 'waitless.yaml'), 'dataPasswordFile: nowhere\n');
  const server = await start(t, ['dev', '--port', '0'], cwd, {
    WAITLESS_DATA: 'postgres://app:ossifrage@127.0.0.1:1/jobs',
    WAITLESS_I_ACCEPT_WEAK_DURABILITY: 'true',
  });
  assert.equal(await server.line(/^ {2}data /), '  data        in memory');
  assert.ok(!server.lines.join('\n').includes('ossifrage'));
});
