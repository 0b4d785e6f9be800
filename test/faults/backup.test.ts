// Backups while the server works: whatever was acknowledged before one began is in it, byte for byte; what is half made has no name; and what
// cannot be restored is refused with nothing changed.
import assert from 'node:assert/strict';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { test, type TestContext } from 'node:test';
import Database from 'better-sqlite3';
import { main } from '../../packages/cli/src/main.ts';
import { sqliteEngine } from '../../packages/server/src/engines/sqlite/engine.ts';
import { noise, sha256 } from '../support/fixtures.ts';
import { get, post } from '../support/http.ts';
import { classify, Ledger, type LedgerLine, type Seen, summary, type Verdict } from '../support/ledger.ts';
import { observe } from '../support/observe.ts';
import { assertProblem, submit } from '../support/operations.ts';
import { leaseCall, leasedBody, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor, temporaryFolder } from '../support/server.ts';
import { makeSmallDisk } from '../support/small-disk.ts';
import { type ServerProcess, spawnServer } from '../support/spawn-server.ts';
import { submitLoad } from '../support/submit-load.ts';

const services = { jobs: { target: { pull: true }, lease: '1h' }, held: { target: { pull: true }, lease: '1h' } };
const judged = ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const;

interface Done {
  file: string;
  bytes: number;
}

interface Ran {
  code: number;
  out: string;
  err: string;
}

/** Runs the command with these words, in this process: a start costs more than what most of them do. */
async function waitless(cwd: string, ...words: string[]): Promise<Ran> {
  let [out, err] = ['', ''];
  const into = (add: (text: string) => void): Writable =>
    new Writable({ write: (chunk, _, done) => (add(String(chunk)), done()) });
  const code = await main(words, {
    stdin: Readable.from([]),
    stdout: into((text) => (out += text)),
    stderr: into((text) => (err += text)),
    env: {},
    cwd,
    now: Date.now,
    onSignal: () => () => undefined,
    exit: () => undefined,
  });
  return { code, out, err };
}

async function restored(cwd: string, file: string): Promise<string> {
  const data = join(cwd, 'restored');
  const { code, err } = await waitless(cwd, 'restore', file, '--data', data);
  assert.equal(code, 0, err);
  return data;
}

/** What was acknowledged so far must be there; what was still on its way, or came later, may be. */
const toldBy = (ledger: Ledger, known: ReadonlySet<string>): Map<string, LedgerLine> =>
  new Map(
    [...ledger.last('submit')].map(([key, line]) => [
      key,
      known.has(key) ? line : { ...line, outcome: 'info' as const },
    ]),
  );

const acknowledged = (ledger: Ledger): Set<string> =>
  new Set([...ledger.last('submit').values()].filter(({ outcome }) => outcome === 'ok').map(({ key }) => key));

/** Enough for a copy of many steps. */
const fill = (url: string, ledger: Ledger, count: number): Promise<void> =>
  submitLoad({
    ledger,
    service: 'jobs',
    callers: 8,
    prefix: 'early',
    count,
    bodyBytes: () => 120_000,
    server: () => Promise.resolve(url),
  });

interface Loaded {
  server: ServerProcess;
  folder: string;
  data: string;
  ledger: Ledger;
  /** Ids whose replies were acknowledged. */
  replied: Set<string>;
  /** Ends submits and replies. */
  end: () => Promise<void>;
}

/** A server that many submit to and a worker works for. */
async function underLoad(t: TestContext): Promise<Loaded> {
  const folder = await temporaryFolder(t);
  const data = join(folder, 'data');
  const server = await spawnServer(t, { services, data, own: true, nodes: 1 });
  const ledger = new Ledger(join(folder, 'ledger'));
  await fill(server.url, ledger, 80);
  const over = new AbortController();
  const replied = new Set<string>();
  async function work(): Promise<void> {
    while (!over.signal.aborted) {
      // Short: what was in the worker's hands in the copy must come back to whoever judges it.
      const { leases } = await leaseCall(server.url, 'jobs', { max: 3, leaseSeconds: 2 });
      for (const lease of leases)
        if ((await reply(server.url, lease.token, leasedBody(lease))).status === 200) replied.add(lease.operation.id);
    }
  }
  let count = 0;
  const busy = Promise.withResolvers<void>();
  const load = submitLoad({
    ledger,
    service: 'jobs',
    callers: 8,
    count: 1_000_000,
    over: over.signal,
    server: () => Promise.resolve(server.url),
    after: () => {
      if (++count === 150) busy.resolve();
    },
  });
  const working = work();
  await busy.promise;
  return {
    server,
    folder,
    data,
    ledger,
    replied,
    async end() {
      over.abort();
      await Promise.all([load, working]);
    },
  };
}

/** What a server on this data holds of `jobs`, against what is known for certain. */
async function judge(
  t: TestContext,
  data: string,
  {
    told,
    before = () => Promise.resolve(),
  }: { told: ReadonlyMap<string, LedgerLine>; before?: (url: string) => Promise<void> },
): Promise<{ verdict: Verdict; seen: Seen[]; server: ServerProcess }> {
  const server = await spawnServer(t, { services, data, own: true, nodes: 1 });
  await before(server.url);
  // What has no name of the tester's own is none of the load's.
  const seen = (await observe(server.url, 'jobs')).filter(({ key, id }) => key !== id);
  return { verdict: classify(told, seen), seen, server };
}

const seqOf = (id: string): number => Number.parseInt(id.slice(34), 36);

async function epochOf(data: string): Promise<string> {
  const engine = sqliteEngine({ folder: data });
  await engine.open(Date.now());
  const { epoch } = await engine.read({ namespace: 'default', topics: ['**'], after: 0, limit: 1, maxBytes: 1 });
  await engine.close();
  return epoch;
}

test(
  'a backup under load has everything that was acknowledged before it began, and a server works on it',
  { timeout: 120_000 },
  async (t) => {
    const { server, folder, data, ledger, replied, end } = await underLoad(t);
    const held = await submit(server.url, 'held', { body: 'held over the backup' });
    const lease = await takeOne(server.url, 'held', { leaseSeconds: 3600 });
    const { id: first } = [...ledger.last('submit').values()][0]!;

    const [known, answered, before] = [acknowledged(ledger), new Set(replied), ledger.lines.length];
    const answer = await post(`${server.url}/v1/backup`);
    const during = ledger.lines.length - before;
    assert.equal(answer.status, 200, answer.text);
    const { file, bytes } = answer.json<unknown>() as Done;
    assert.equal(file.startsWith(join(data, 'backups', 'waitless-')), true, file);
    assert.equal(statSync(file).size, bytes);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(statSync(join(data, 'backups')).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(join(data, 'backups')), [file.split('/').at(-1)], 'one file, nothing beside it');
    await end();
    await server.end('SIGKILL');
    const last = Math.max(...[...ledger.last('submit').values()].map(({ id }) => seqOf(id ?? '')).filter(Boolean));

    const copy = await restored(folder, file);
    const judgement = await judge(t, copy, {
      told: toldBy(ledger, known),
      before: async (url) => {
        assert.equal((await reply(url, lease.token, 'answered after the restore')).status, 200);
        assert.equal((await get(`${url}/v1/operations/${held.id}/result`)).text, 'answered after the restore');
      },
    });
    t.diagnostic(`${during} submits during the copy; ${summary(judgement.verdict)}`);
    assert.ok(during > 0, 'submits were answered while the copy was made');
    for (const kind of judged) assert.deepEqual(judgement.verdict[kind], [], kind);
    const pending = new Set(judgement.seen.filter((one) => one.pending).map(({ id }) => id));
    assert.ok(answered.size > 0);
    assert.deepEqual(
      [...answered].filter((id) => pending.has(id)),
      [],
      'every reply that was acknowledged before is there',
    );

    // Keys, leases and results of before hold; what is new is far from what the old server may have given out since.
    const { url } = judgement.server;
    const [key, { id }] = [...ledger.last('submit')].find(([, line]) => line.id === first)!;
    const body = noise(120_000, Number(key.split('-')[1]) + 1);
    const again = await submit(url, 'jobs', {
      body,
      headers: { 'Idempotency-Key': key, 'Correlation-Id': key, 'Content-Type': 'application/octet-stream' },
    });
    assert.equal(again.id, id);
    assert.ok(seqOf((await submit(url, 'jobs')).id) - last >= 2 ** 32 - 100_000);
    await judgement.server.end('SIGTERM');
    assert.notEqual(await epochOf(copy), await epochOf(data), 'positions of the old log are void');
  },
);

test('the positive control: a plain copy of the file under load is found out', { timeout: 120_000 }, async (t) => {
  const { server, folder, data, ledger, end } = await underLoad(t);
  const known = acknowledged(ledger);
  const file = join(folder, 'copied.db');
  copyFileSync(join(data, 'waitless.db'), file);
  await end();
  await server.end('SIGKILL');
  const { code, err } = await waitless(folder, 'restore', file, '--data', join(folder, 'restored'));
  if (code !== 0) return t.diagnostic(`restore refused it: ${err}`);
  assert.match(err, /was copied out of a data folder/);
  const { verdict } = await judge(t, join(folder, 'restored'), { told: toldBy(ledger, known) });
  t.diagnostic(summary(verdict));
  assert.ok(verdict.lost.length + verdict.wrong.length > 0, 'the judgement can fail');
});

test(
  'a kill in the middle of a backup leaves nothing under a name, and the next one takes the rest away',
  { timeout: 120_000 },
  async (t) => {
    const folder = await temporaryFolder(t);
    const data = join(folder, 'data');
    const settings = { services, data, own: true, nodes: 1 } as const;
    const server = await spawnServer(t, settings);
    const ledger = new Ledger(join(folder, 'ledger'));
    await fill(server.url, ledger, 150);
    const backups = join(data, 'backups');
    const names = (): string[] => (existsSync(backups) ? readdirSync(backups) : []);
    const asked = post(`${server.url}/v1/backup`).catch(() => undefined);
    while (!names().some((name) => name.endsWith('.partial'))) await new Promise((resolve) => setImmediate(resolve));
    await server.end('SIGKILL');
    await asked;
    assert.ok(
      names().some((name) => name.endsWith('.partial')),
      'it was killed in the middle',
    );
    assert.deepEqual(
      names().filter((name) => name.endsWith('.db')),
      [],
    );

    const { verdict, server: next } = await judge(t, data, { told: ledger.last('submit') });
    for (const kind of judged) assert.deepEqual(verdict[kind], [], kind);
    const { code, out, err } = await waitless(folder, 'backup', '--url', next.url, '--json');
    assert.equal(code, 0, err);
    const { file } = JSON.parse(out) as Done;
    assert.deepEqual(names(), [file.split('/').at(-1)]);
    await restored(folder, file);
  },
);

test('one backup at a time; a look at it from beside; and who may not', { timeout: 60_000 }, async (t) => {
  const folder = await temporaryFolder(t);
  const target = join(folder, 'elsewhere');
  const server = await serverFor(t, {
    services,
    namespaces: ['default', 'shop'],
    data: join(folder, 'data'),
    fields: { backupFolder: target },
  });
  const [key, shop] = [server.key('default'), server.key('shop')];
  const url = `${server.url}/v1/backup`;
  assertProblem(await get(url, { key }), 404, 'not-found');
  for (const sent of [{ key: shop }, { key: shop, method: 'POST' }])
    assertProblem(await get(url, sent), 403, 'insufficient-scope');
  assertProblem(await post(url, { key, body: { folder: '/tmp' } }), 400, 'unknown-field');
  assertProblem(await post(url), 401, 'unauthenticated');
  assert.equal(existsSync(target), false, 'refusals leave nothing behind');

  const answers = await Promise.all([1, 2, 3].map(() => post(url, { key, headers: { Prefer: 'wait=0' } })));
  assert.deepEqual(
    answers.map(({ status }) => status).toSorted((a, b) => a - b),
    [202, 409, 409],
    answers.map(({ text }) => text).join(),
  );
  for (const answer of answers.filter(({ status }) => status === 409)) assertProblem(answer, 409, 'backup-in-progress');
  for (;;) {
    const look = (await get(url, { key })).json<{ state: string; file: string | null }>();
    if (look.state === 'running') continue;
    assert.equal(look.state, 'done');
    assert.deepEqual(readdirSync(target), [look.file!.split('/').at(-1)]);
    break;
  }
  assert.equal((await post(url, { key })).status, 200, 'then another may be made');

  // A stop in the middle gives the copy up.
  assert.equal((await post(url, { key, headers: { Prefer: 'wait=0' } })).status, 202);
  await server.stop();
  assert.deepEqual(
    readdirSync(target).filter((name) => !name.endsWith('.db')),
    [],
  );
});

test(
  'a store in memory has nothing to back up, and a full disk leaves no part of a copy',
  { timeout: 60_000 },
  async (t) => {
    const memory = await serverFor(t, { services });
    const refused = await post(`${memory.url}/v1/backup`);
    assertProblem(refused, 409, 'backup-elsewhere');
    assert.match(refused.text, /--data FOLDER/);

    const disk = await makeSmallDisk(t, { megabytes: 80 });
    if (typeof disk === 'string') return t.diagnostic(`skipped the full disk: ${disk}`);
    const backups = join(disk.folder, 'backups');
    const server = await serverFor(t, {
      services,
      data: join(await temporaryFolder(t), 'data'),
      fields: { backupFolder: backups },
    });
    await disk.occupyAllBut(4);
    assertProblem(await post(`${server.url}/v1/backup`), 507, 'insufficient-storage');
    assert.deepEqual(readdirSync(backups), []);
    await disk.free();
    assert.equal((await post(`${server.url}/v1/backup`)).status, 200);
  },
);

test('what cannot be restored is refused in a sentence, and nothing is changed', { timeout: 60_000 }, async (t) => {
  const folder = await temporaryFolder(t);
  const data = join(folder, 'data');
  const server = await spawnServer(t, { services, data, own: true, nodes: 1 });
  await Promise.all(Array.from({ length: 40 }, (_, i) => submit(server.url, 'jobs', { body: noise(20_000, i) })));
  const { file } = (await post(`${server.url}/v1/backup`)).json<unknown>() as Done;
  const refusedWith = async (code: number, words: RegExp, ...given: string[]): Promise<void> => {
    const ran = await waitless(folder, ...given);
    assert.match(ran.err, words);
    assert.equal(ran.code, code, ran.err);
    assert.equal(ran.err.trim().split('\n').length, 1, ran.err);
    assert.equal(ran.out, '');
  };
  await refusedWith(78, /a server works on the store/, 'restore', file, '--data', data);
  await refusedWith(
    78,
    /a server works on the store.*waitless backup --url/,
    'backup',
    '--data',
    data,
    '--to',
    'copy.db',
  );
  await server.end('SIGTERM');
  const before = sha256(readFileSync(join(data, 'waitless.db')));
  await refusedWith(78, /has a store already.*move/, 'restore', file, '--data', data);
  assert.equal(sha256(readFileSync(join(data, 'waitless.db'))), before);

  // What is left where only waitless.db was moved away would be taken for the log of the restored store.
  mkdirSync(join(folder, 'half'));
  writeFileSync(join(folder, 'half', 'waitless.db-wal'), 'frames');
  await refusedWith(78, /has waitless\.db-wal.*move it/, 'restore', file, '--data', 'half');
  assert.deepEqual(readdirSync(join(folder, 'half')), ['waitless.db-wal']);

  writeFileSync(join(folder, 'letter.db'), 'Dear server,\n'.repeat(2000));
  await refusedWith(1, /no store of Waitless/, 'restore', 'letter.db', '--data', 'new');
  await refusedWith(1, /there is no file/, 'restore', 'nowhere.db', '--data', 'new');
  const other = new Database(join(folder, 'other.db'));
  other.exec('CREATE TABLE mine (a)');
  other.close();
  await refusedWith(1, /something else/, 'restore', 'other.db', '--data', 'new');
  const newer = join(folder, 'newer.db');
  copyFileSync(file, newer);
  const changed = new Database(newer);
  changed.pragma('user_version = 99');
  changed.close();
  await refusedWith(78, /schema 99.*newer version/, 'restore', 'newer.db', '--data', 'new');
  const damaged = join(folder, 'damaged.db');
  copyFileSync(file, damaged);
  const handle = openSync(damaged, 'r+');
  for (let page = 2; page < 30; page++) writeSync(handle, Buffer.alloc(64, 0xa5), 0, 64, page * 8192);
  closeSync(handle);
  await refusedWith(1, /damaged/, 'restore', 'damaged.db', '--data', 'new');
  assert.deepEqual(
    existsSync(join(folder, 'new')) ? readdirSync(join(folder, 'new')) : [],
    [],
    'nothing is left in the folder',
  );

  const copied = await waitless(folder, 'backup', '--data', data, '--to', 'copy.db', '--json');
  assert.equal(copied.code, 0, copied.err);
  await refusedWith(78, /a file .* already/, 'backup', '--data', data, '--to', 'copy.db');
  const again = await restored(folder, join(folder, 'copy.db'));
  const next = await spawnServer(t, { services, data: again, own: true, nodes: 1 });
  assert.equal((await get(`${next.url}/v1/operations?limit=100`)).json<{ items: unknown[] }>().items.length, 40);
});
