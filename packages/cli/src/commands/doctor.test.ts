// `doctor`: each thing it looks at, well and wrong, against real ports, folders and servers.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { resolveConfig, startServer } from '@waitless/server';
import type { Finding } from '../doctor/finding.ts';
import { checkClock, checkNode } from '../doctor/machine.ts';
import { checkServer } from '../doctor/server.ts';
import { run, type RunOptions } from '../support.test.ts';

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'waitless-doctor-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function serverOn(t: TestContext, data: string, more: Record<string, string> = {}): Promise<string> {
  const { config } = resolveConfig({
    cwd: tmpdir(),
    env: {},
    document: { logLevel: 'silent' },
    options: { port: '0', data, ...more },
  });
  const server = await startServer(config);
  t.after(() => server.stop());
  return server.url;
}

interface Looked {
  code: number;
  findings: Map<string, Finding>;
}

/** The findings by name; of several backends the last. The clock of these tests stands still, so it is looked at by itself. */
async function look(argv: readonly string[], options: Pick<RunOptions, 'cwd' | 'env' | 'now'>): Promise<Looked> {
  const { code, stdout, stderr } = await run(['doctor', '--json', ...argv], options);
  assert.equal(stderr, '');
  const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: Finding[] };
  assert.equal(ok, code === 0);
  return { code, findings: new Map(findings.map((one) => [one.name, one])) };
}

const expect = (found: Finding | undefined, state: Finding['state'], text: RegExp): void => {
  assert.equal(found?.state, state, found?.text);
  assert.match(found!.text, text);
};

test('a machine on which all is well: exit code 0, and nothing is left behind', async (t) => {
  const cwd = await folder(t);
  const options = { cwd, env: { WAITLESS_URL: await serverOn(t, ':memory:') }, now: Date.now };
  const { code, findings } = await look(['--port', '0'], options);
  assert.equal(code, 0);
  expect(findings.get('node'), 'ok', new RegExp(process.versions.node.replaceAll('.', '\\.')));
  expect(findings.get('config'), 'ok', /no file; no services yet/);
  expect(findings.get('data'), 'ok', /made at the first start, \d+ [GM]B free/);
  expect(findings.get('server'), 'ok', /runs Waitless \d/);
  expect(findings.get('key'), 'ok', /asks for none/);
  expect(findings.get('clock'), 'ok', /, as on the server$/);
  assert.deepEqual(await readdir(cwd), []);
  const { stdout } = await run(['doctor', '--port', '0'], options);
  assert.match(stdout, /^ok {5}node {6}\d/m);
});

test('a running server: its version, its folder in use, its key asked for', async (t) => {
  const cwd = await folder(t);
  const data = join(cwd, 'data');
  const made = await run(['keys', 'new', '--append', 'keys'], { cwd });
  const url = await serverOn(t, data, { apiKeyFile: join(cwd, 'keys') });
  const before = await readdir(data);
  const env = { WAITLESS_URL: url };
  const without = await look(['--data', data, '--port', new URL(url).port], { cwd, env });
  assert.equal(without.code, 1);
  expect(without.findings.get('data'), 'note', /in use by a server; a second one needs a folder of its own/);
  expect(without.findings.get('port'), 'ok', /has a Waitless \d.*for a second server give another with --port/);
  expect(without.findings.get('server'), 'ok', /runs Waitless \d/);
  expect(without.findings.get('key'), 'wrong', /set WAITLESS_API_KEY, or give --api-key-file/);
  const right = { ...env, WAITLESS_API_KEY: made.stdout.trim() };
  expect((await look(['--data', data], { cwd, env: right })).findings.get('key'), 'ok', /knows it/);
  const wrong = { ...env, WAITLESS_API_KEY: 'wl_nobody' };
  expect((await look(['--data', data], { cwd, env: wrong })).findings.get('key'), 'wrong', /does not know this key/);
  // For a server this variable is the list of hashes, and a shell that has it set must not confuse the doctor.
  const list = { ...right, WAITLESS_API_KEY_FILE: 'keys' };
  expect((await look(['--data', data], { cwd, env: list })).findings.get('config'), 'ok', /no file/);
  assert.deepEqual(
    (await readdir(data)).filter((name) => name !== 'ballast'),
    before.filter((name) => name !== 'ballast'),
  );
});

test('the store of a server that was killed is looked at without a trace', async (t) => {
  const cwd = await folder(t);
  const data = join(cwd, 'data');
  const { config } = resolveConfig({ cwd, env: {}, document: { logLevel: 'silent' }, options: { port: '0', data } });
  await (await startServer(config)).stop();
  // What a kill leaves: a log that was not taken in.
  await writeFile(join(data, 'waitless.db-wal'), '');
  const before = (await readdir(data)).toSorted();
  expect((await look(['--data', data, '--port', '0'], { cwd })).findings.get('data'), 'ok', /free$/);
  assert.deepEqual((await readdir(data)).toSorted(), before);
});

test('what is wrong is named with what to do, exit code 1', async (t) => {
  const cwd = await folder(t);
  const stranger = createServer((_, response) => void response.writeHead(404).end('<h1>hello</h1>'));
  stranger.listen(0, '127.0.0.1');
  await once(stranger, 'listening');
  const { port } = stranger.address() as AddressInfo;
  t.after(() => stranger.close());
  const closed = createServer();
  closed.listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const gone = (closed.address() as AddressInfo).port;
  await new Promise((resolve) => closed.close(resolve));
  await writeFile(join(cwd, 'file'), '');

  const { code, findings } = await look(
    ['--port', String(port), '--data', 'file/below', '--target', `score=http://127.0.0.1:${gone}`],
    { cwd, env: { WAITLESS_URL: `http://127.0.0.1:${gone}` } },
  );
  assert.equal(code, 1);
  expect(findings.get('port'), 'wrong', /taken by something that is not Waitless; stop it or give another with --port/);
  expect(findings.get('data'), 'wrong', /file is a file and no folder; give a folder with --data/);
  expect(findings.get('server'), 'wrong', /connection refused; `npx waitless dev` .*mend --url or WAITLESS_URL/);
  expect(findings.get('backend'), 'wrong', /^score: .* nothing listens there; start it, or mend its URL/);

  const other = await look(
    ['--port', '0', '--url', `http://127.0.0.1:${port}`, '--target', `ok=http://127.0.0.1:${port}`],
    { cwd },
  );
  expect(other.findings.get('server'), 'wrong', /is not Waitless; give the server's own address/);
  expect(other.findings.get('backend'), 'ok', /can be reached/);

  await writeFile(join(cwd, 'waitless.yaml'), 'prot: 1\n');
  const config = await look([], { cwd });
  expect(config.findings.get('config'), 'wrong', /did you mean "port"\? \(waitless\.yaml line 1\)/);
  const database = await look(['--config', 'none.yaml'], { cwd });
  expect(database.findings.get('config'), 'wrong', /none\.yaml does not exist; check the path/);
  assert.ok(!existsSync(join(cwd, 'waitless-data')));
});

test('a database that is away is named without its password', async (t) => {
  const cwd = await folder(t);
  const env = { WAITLESS_DATA: 'postgres://app:ossifrage@127.0.0.1:1/jobs' };
  const { stdout, code } = await run(['doctor', '--port', '0'], { cwd, env });
  assert.equal(code, 1);
  assert.match(stdout, /^wrong {2}data .*cannot be reached: nothing listens there; start the database or mend --data/m);
  assert.doesNotMatch(stdout, /ossifrage/);
});

test('an old Node and a clock that is off', () => {
  for (const [have, state] of [
    ['18.20.4', 'wrong'],
    ['20.19.0', 'wrong'],
    ['22.22.1', 'wrong'],
    ['22.22.2', 'ok'],
    ['22.100.0', 'ok'],
    ['24.0.0', 'ok'],
  ] as const)
    assert.equal(checkNode(have, '>=22.22.2').state, state, have);
  expect(checkNode('20.1.0', '>=22.22.2'), 'wrong', /install Node 22\.22\.2 or newer/);
  const now = Date.parse('2026-11-21T12:00:00Z');
  expect(checkClock(0, undefined), 'wrong', /1970-.*set it, with NTP/);
  expect(checkClock(now, 60_000), 'wrong', /differ by 60 s; let both follow NTP/);
  expect(checkClock(now, 900), 'ok', /as on the server/);
});

test('a server that is not ready, and one of another version', () => {
  const url = 'http://127.0.0.1:7878';
  const who = { kind: 'waitless', version: '0.1.0', skewMs: undefined, ready: 'the disk is full' } as const;
  expect(checkServer({ url, who, own: '0.1.0', asked: true }), 'wrong', /takes no work: the disk is full/);
  expect(
    checkServer({ url, who: { ...who, ready: undefined }, own: '0.2.0', asked: true }),
    'note',
    /use the same for both/,
  );
  const nobody = { kind: 'nobody', why: 'connection refused' } as const;
  expect(checkServer({ url, who: nobody, own: '0.1.0', asked: false }), 'note', /none at .* yet; `npx waitless dev`/);
});
