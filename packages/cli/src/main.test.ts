// What every command has in common: help, wrong usage, connection, exit codes, one sentence on stderr.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeServer, run, sendJson, sendProblem } from './support.test.ts';

test('help begins with examples, names every command, and goes to stdout with exit code 0', async () => {
  for (const argv of [[], ['--help'], ['help']]) {
    const { code, stdout, stderr } = await run(argv);
    assert.equal(code, 0);
    assert.equal(stderr, '');
    assert.match(stdout, /^Examples:\n {2}npx waitless dev/);
    for (const name of [
      'dev',
      'serve',
      'submit',
      'result',
      'watch',
      'get',
      'ls',
      'timeline',
      'cancel',
      'services',
      'worker',
      'purge',
      'keys',
      'secrets',
      'doctor',
      'bench',
    ])
      assert.match(stdout, new RegExp(`^ {2}${name}\\b`, 'm'));
  }
  for (const name of [
    'submit',
    'result',
    'watch',
    'get',
    'ls',
    'timeline',
    'cancel',
    'services',
    'worker',
    'purge',
    'secrets',
    'doctor',
    'bench',
  ]) {
    for (const argv of [
      [name, '--help'],
      ['help', name],
    ]) {
      const { code, stdout } = await run(argv);
      assert.equal(code, 0, argv.join(' '));
      assert.match(stdout, new RegExp(`^Examples:\\n {2}\\S*.*npx waitless [^\\n]*${name}`), argv.join(' '));
      assert.match(stdout, /--url <URL>/);
    }
  }
  const { code, stdout } = await run(['--version']);
  assert.equal(code, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

test('wrong usage: exit code 2, one sentence that says what is wrong, nothing on stdout, nothing sent', async (t) => {
  const { env, seen } = await fakeServer(t, (_, response) => sendJson(response, 200, {}));
  const wrong: [string[], RegExp][] = [
    [['help', 'subimt'], /unknown command 'subimt'.*Did you mean submit\?/],
    [['--url', 'http://x', 'ls'], /options come after the command/],
    [['subimt', '--help'], /unknown command 'subimt'.*Did you mean submit\?/],
    [['ls', '--serviec', 'x'], /unknown option '--serviec'.*Did you mean --service\?/],
    [['submit'], /missing required argument 'SERVICE'/],
    [['get'], /missing required argument 'ID'/],
    [['get', 'a', 'b'], /too many arguments/],
    [['submit', 'score', '--timeout', 'soon'], /--timeout.*30s/],
    [['submit', 'score', '--priority', '10'], /--priority.*0 to 9/],
    [['submit', 'score', '--label', 'x'], /--label.*name=value/],
    [['submit', 'score', '--durability', 'maybe'], /--durability.*stored, memory, none/],
    [['submit', 'score', '-X', 'TRACE'], /-X.*GET/],
    [['submit', 'score', '-X', 'GET', '-d', 'x'], /GET request carries no body/],
    [['submit', 'score', '-d', '@no-such-file'], /-d: there is no file .*no-such-file/],
    [['submit', 'score', '-H', 'nonsense'], /-H takes a header/],
    [['submit', 'score', '-H', 'Prefer: wait=3'], /--wait/],
    [['submit', 'score', '../operations'], /dot segment/],
    [['submit', 'sc/ore'], /not a service name/],
    [['submit', 'score', '-i'], /need --wait/],
    [['submit', 'score', '--wait', '--durability', 'none'], /cannot be waited for/],
    [['result', 'x', '--wait=long'], /--wait.*seconds/],
    [['ls', '--status', 'done'], /no state "done"/],
    [['ls', '--limit', '0'], /--limit.*1 to/],
    [['worker', 'jobs'], /required option '--exec <CMD>' not specified/],
    [['worker', 'jobs', '--exec', 'true', '--concurrency', '0'], /--concurrency.*1 to 1000/],
    [['worker', 'jobs', '--exec', 'true', '--lease', '30'], /--lease.*30s/],
    [['worker', 'a/b', '--exec', 'true'], /not a service name/],
    [['bench', '--seconds', '600'], /--seconds.*1 to 60/],
    [['bench', '--in-flight', 'many'], /--in-flight.*1 to 1000/],
    [['ls', '--created-after', 'yesterday'], /--created-after.*2026-01-31/],
    [['ls', '--url', '127.0.0.1:7878'], /--url: .*http:\/\/127\.0\.0\.1:7878/],
  ];
  for (const [argv, expected] of wrong) {
    const { code, stdout, stderr } = await run(argv, { env });
    assert.equal(code, 2, `${argv.join(' ')}: ${stderr}`);
    assert.equal(stdout, '');
    const [sentence = '', ...rest] = stderr.trimEnd().split('\n');
    assert.match(sentence, /^waitless: /);
    assert.match(sentence, expected, argv.join(' '));
    assert.ok(rest.length <= 1, stderr);
  }
  assert.equal(seen.length, 0);
});

test('bad configuration of the connection: exit code 78 and the name of what is wrong', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'waitless-cli-'));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'list'), `me default ${'0a'.repeat(32)}\n`);
  await writeFile(join(folder, 'two'), 'one two\n');
  const wrong: [string[], Record<string, string>, RegExp][] = [
    [['ls'], { WAITLESS_URL: 'nonsense' }, /WAITLESS_URL: "nonsense" is not a URL/],
    [['ls', '--api-key-file', 'none'], {}, /--api-key-file: there is no file .*none/],
    [['ls'], { WAITLESS_API_KEY_FILE: 'list' }, /WAITLESS_API_KEY_FILE: .*key list with hashes/],
    [['ls', '--api-key-file', 'two'], {}, /--api-key-file: a key is one word/],
    [['ls'], { WAITLESS_API_KEY: 'a b' }, /WAITLESS_API_KEY: a key is one word/],
  ];
  for (const [argv, env, expected] of wrong) {
    const { code, stderr } = await run(argv, { env, cwd: folder });
    assert.equal(code, 78, stderr);
    assert.match(stderr, expected);
  }
});

test('the key comes from the file of the flag, else the environment; the flag beats both variables', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'waitless-cli-'));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'flag'), 'from-flag\n');
  await writeFile(join(folder, 'env'), 'from-file');
  const { env, seen } = await fakeServer(t, (_, response) => sendJson(response, 200, { items: [], next: null }));
  for (const [argv, more] of [
    [['ls', '--api-key-file', 'flag'], { WAITLESS_API_KEY: 'from-env' }],
    [['ls'], { WAITLESS_API_KEY: 'from-env', WAITLESS_API_KEY_FILE: 'env' }],
    [['ls'], { WAITLESS_API_KEY_FILE: 'env' }],
    [['ls'], { WAITLESS_API_KEY: '' }],
  ] as const) {
    assert.equal((await run(argv, { env: { ...env, ...more }, cwd: folder })).code, 0);
  }
  assert.deepEqual(
    seen.map((one) => one.headers['authorization']),
    ['Bearer from-flag', 'Bearer from-env', 'Bearer from-file', undefined],
  );
});

test('server down: every command says where it looked and what to try, exit code 1', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await new Promise((resolve) => server.close(resolve));
  for (const argv of [
    ['submit', 'score'],
    ['result', 'x'],
    ['get', 'x'],
    ['ls'],
    ['timeline', 'x'],
    ['cancel', 'x'],
    ['services'],
    ['purge', 'score', '42'],
    ['backup'],
    ['secrets'],
    ['bench'],
  ]) {
    const { code, stdout, stderr } = await run([...argv, '--url', url]);
    assert.equal(code, 1, argv.join(' '));
    assert.equal(stdout, '');
    assert.match(
      stderr,
      new RegExp(
        `^waitless: .*cannot reach ${url}: connection refused\\. Is the server running\\? \`npx waitless dev\``,
      ),
    );
  }
});

test('an answer of the server that refuses is one sentence, with a hint where there is something to do', async (t) => {
  const { env } = await fakeServer(t, ({ path }, response) => {
    if (path === '/v1/services') sendJson(response, 200, { items: [{ name: 'score' }, { name: 'echo' }], next: null });
    else if (path.startsWith('/v1/call')) sendProblem(response, 404, 'unknown-service', 'There is no service "scor".');
    else if (path === '/v1/operations') sendProblem(response, 401, 'unauthenticated', 'An API key is needed.');
    else sendProblem(response, 404, 'not-found', 'Forged\u001b[2J\nwaitless: all is well');
  });
  const unknown = await run(['submit', 'scor'], { env });
  assert.equal(unknown.code, 1);
  assert.equal(unknown.stderr, 'waitless: there is no service "scor" here, only: score, echo.\n');
  const denied = await run(['ls'], { env });
  assert.equal(denied.code, 1);
  assert.match(denied.stderr, /An API key is needed\.\n.*--api-key-file/);
  const missing = await run(['get', 'x'], { env });
  assert.equal(missing.code, 1);
  assert.equal(missing.stderr.split('\n')[0], 'waitless: Forged waitless: all is well');
});
