// `waitless backup` against a server that is only answers: what it asks, what a person sees meanwhile, and what each refusal becomes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeServer, run, sendJson, sendProblem } from '../support.test.ts';

const running = {
  state: 'running',
  file: null,
  bytes: null,
  startedAt: '2026-01-31T12:30:00.250Z',
  createdAt: null,
  copiedBytes: 0,
  totalBytes: null,
  error: null,
};
const file = '/var/lib/waitless/backups/waitless-2026-01-31T12-30-00-250Z.db';
const done = { ...running, state: 'done', file, bytes: 52_428_800, createdAt: '2026-01-31T12:30:02.750Z' };
const half = { ...running, copiedBytes: 26_214_400, totalBytes: 52_428_800 };

test('the file is printed, alone for a script, with progress for a person', async (t) => {
  for (const tty of [false, true]) {
    const states = [half, half, done];
    const server = await fakeServer(t, ({ method }, response) =>
      sendJson(response, method === 'POST' ? 202 : 200, method === 'POST' ? running : states.shift()),
    );
    const { code, stdout, stderr } = await run(['backup', '--url', server.url], {
      env: { WAITLESS_API_KEY: 'k1' },
      tty,
    });
    assert.deepEqual([code, stdout], [0, `${file}\n`]);
    assert.deepEqual(
      server.seen.map(({ method, path, headers }) => [method, path, headers.authorization]),
      ['POST', 'GET', 'GET', 'GET'].map((method) => [method, '/v1/backup', 'Bearer k1']),
    );
    assert.equal(server.seen[0]!.headers['prefer'], 'wait=0');
    if (tty) assert.match(stderr, /26\.2 MB of 52\.4 MB[^]*52\.4 MB, looked at and synced/);
    else assert.equal(stderr, '');
  }
});

test('--json prints what a script needs, also where the backup is made at once', async (t) => {
  const server = await fakeServer(t, (_, response) => sendJson(response, 200, done));
  const { code, stdout } = await run(['backup', '--json'], { env: server.env });
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(stdout), { file, bytes: done.bytes, createdAt: done.createdAt });
});

test('each refusal is one sentence and exit code 1, wrong usage is 2', async (t) => {
  const failed = {
    ...running,
    state: 'failed',
    error: { code: 'insufficient-storage', message: 'there is no room in /x' },
  };
  const server = await fakeServer(t, ({ path }, response) =>
    path.startsWith('/busy')
      ? sendProblem(response, 409, 'backup-in-progress', 'a backup has been under way since noon')
      : path.startsWith('/odd')
        ? void response.end('<html>')
        : sendJson(response, 202, path.startsWith('/other') ? { ...half, startedAt: 'later' } : failed),
  );
  for (const [words, code, sentence] of [
    [['--url', `${server.url}/busy`], 1, /a backup has been under way since noon/],
    [['--url', server.url], 1, /there is no room in \/x/],
    [['--url', `${server.url}/odd`], 1, /is that a Waitless server/],
    [['--url', 'http://127.0.0.1:1'], 1, /cannot reach .*Is the server running\?/],
    [['--data', 'x'], 2, /--data and --to belong together/],
    [['--to', 'x'], 2, /--data and --to belong together/],
    [['--data', '/nowhere/at/all', '--to', 'x'], 78, /there is no store in \/nowhere\/at\/all/],
  ] as const) {
    const ran = await run(['backup', ...words]);
    assert.deepEqual([ran.code, ran.stdout], [code, ''], ran.stderr);
    assert.match(ran.stderr, sentence);
    assert.equal(ran.stderr.trim().split('\n').length, 1, ran.stderr);
  }
});

test('restore names what it needs', async () => {
  for (const [words, code, sentence] of [
    [['a.db'], 2, /--data <DIR>/],
    [['--data', 'x'], 2, /FILE/],
    [['a.db', '--data', ':memory:'], 78, /into a folder/],
    [['a.db', '--data', 'postgres://u:secret@h/d'], 78, /pg_restore/],
  ] as const) {
    const ran = await run(['restore', ...words]);
    assert.equal(ran.code, code, ran.stderr);
    assert.match(ran.stderr, sentence);
    assert.doesNotMatch(ran.stderr, /secret/);
  }
});
