// Secrets of callbacks: made here, shown once, replaced with an overlap, each namespace its own, sealed with a key that is not in the store.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createLog, type Log } from '../../packages/server/src/lib/log.ts';
import { get, post, type Received, until } from '../support/http.ts';
import { assertProblem } from '../support/operations.ts';
import { type ServerSettings, serverFor, temporaryFolder, type TestServer } from '../support/server.ts';
import { variant } from '../support/variant.ts';

interface Listed {
  id: string;
  createdAt: string;
  ageSeconds: number;
  validUntil: string | null;
  readable: boolean;
}
interface Rotated {
  id: string;
  secret: string;
  createdAt: string;
  previous: { id: string; validUntil: string } | null;
}

const hourMs = 3_600_000;
const path = '/v1/callback-secrets';
const rotate = (url: string, body?: Record<string, unknown>, key?: string): Promise<Received> =>
  post(`${url}${path}/rotate`, { ...(body ? { body } : {}), ...(key === undefined ? {} : { key }) });

async function rotated(url: string, body?: Record<string, unknown>, key?: string): Promise<Rotated> {
  const answer = await rotate(url, body, key);
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers['cache-control'], 'no-store');
  return answer.json<Rotated>();
}
async function listed(url: string, key?: string): Promise<Listed[]> {
  const answer = await get(url + path, key === undefined ? {} : { key });
  assert.equal(answer.status, 200, answer.text);
  return answer.json<{ items: Listed[] }>().items;
}

interface Started {
  server: TestServer;
  keyFile: string;
}

/** A server, of one node or more, whose key is in a file of the test's. */
async function start(t: TestContext, settings: ServerSettings = {}): Promise<Started> {
  const keyFile = join(await temporaryFolder(t), 'config', 'secret.key');
  const server = await serverFor(t, {
    data: 'folder',
    ...settings,
    fields: { ...settings.fields, secretKeyFile: keyFile },
  });
  return { server, keyFile };
}

test('a namespace begins with none; a rotation shows one that Standard Webhooks can use, and the list shows no value', async (t) => {
  const { server, keyFile } = await start(t);
  assert.deepEqual(await listed(server.url), []);
  await assert.rejects(stat(keyFile), { code: 'ENOENT' }, 'no key before there is a need for one');

  const made = await rotated(server.url);
  assert.match(made.secret, /^whsec_[A-Za-z0-9+/]+=*$/);
  assert.equal(Buffer.from(made.secret.slice(6), 'base64').length, 32);
  assert.equal(made.previous, null);
  assert.equal((await stat(keyFile)).mode & 0o777, 0o600);
  assert.match(await readFile(keyFile, 'latin1'), /^[A-Za-z0-9+/]{43}=\n$/);

  const answer = await get(server.url + path);
  const [only, ...more] = answer.json<{ items: Listed[] }>().items;
  assert.deepEqual(
    [only!.id, only!.createdAt, only!.validUntil, only!.readable],
    [made.id, made.createdAt, null, true],
  );
  assert.ok(only!.ageSeconds >= 0);
  assert.deepEqual(more, []);
  assert.ok(!answer.text.includes(made.secret.slice(6)));
});

test('the one before goes on for a day or as long as was said, and at most two are in use', async (t) => {
  const { server } = await start(t);
  const first = await rotated(server.url, {});
  const second = await rotated(server.url);
  assert.equal(second.previous!.id, first.id);
  assert.equal(Date.parse(second.previous!.validUntil) - Date.parse(second.createdAt), 24 * hourMs);
  const both = await listed(server.url);
  assert.deepEqual(
    both.map(({ id, validUntil }) => [id, validUntil]),
    [
      [second.id, null],
      [first.id, second.previous!.validUntil],
    ],
  );
  const third = await rotated(server.url, { overlapHours: 1.5 });
  assert.equal(Date.parse(third.previous!.validUntil) - Date.parse(third.createdAt), 1.5 * hourMs);
  assert.deepEqual(
    (await listed(server.url)).map(({ id }) => id),
    [third.id, second.id],
    'the oldest ended at once',
  );
  const last = await rotated(server.url, { overlapHours: 0 });
  assert.equal(last.previous, null);
  assert.deepEqual(
    (await listed(server.url)).map(({ id }) => id),
    [last.id],
  );
  const short = await rotated(server.url, { overlapHours: 0.00001 });
  // By the clock of each node, and these may be a little apart.
  let inARow = 0;
  await until(async () => {
    const left = (await listed(server.url)).map(({ id }) => id);
    assert.equal(left[0], short.id);
    inARow = left.length === 1 ? inARow + 1 : 0;
    return inARow === 4 ? true : undefined;
  });
  assert.equal(new Set([first, second, third, last, short].map(({ secret }) => secret)).size, 5);
});

test('rotations at the same moment each show their own, and the two newest of them stay', async (t) => {
  const { server } = await start(t);
  const made = await Promise.all(Array.from({ length: 6 }, () => rotated(server.url)));
  assert.equal(new Set(made.flatMap(({ id, secret }) => [id, secret])).size, 12);
  const newest = made.map(({ createdAt }) => Date.parse(createdAt)).sort((a, b) => b - a)[0];
  const left = await listed(server.url);
  assert.equal(left.length, 2);
  assert.equal(Date.parse(left[0]!.createdAt), newest);
  for (const { id, readable } of left) assert.ok(readable && made.some((one) => one.id === id));
});

test('they survive a restart', async (t) => {
  const { server } = await start(t);
  await rotated(server.url);
  await rotated(server.url);
  const ids = async (): Promise<unknown> =>
    (await listed(server.url)).map(({ id, createdAt, validUntil }) => [id, createdAt, validUntil]);
  const before = await ids();
  await server.restart();
  assert.deepEqual(await ids(), before);
});

test('a namespace sees and changes its own alone', async (t) => {
  const { server } = await start(t, { namespaces: ['default', 'shop'] });
  const [operator, shop] = [server.key('default'), server.key('shop')];
  assertProblem(await get(server.url + path), 401, 'unauthenticated');
  assertProblem(await rotate(server.url), 401, 'unauthenticated');
  const ours = await rotated(server.url, {}, shop);
  assert.deepEqual(await listed(server.url, operator), []);
  const theirs = await rotated(server.url, {}, operator);
  await rotated(server.url, { overlapHours: 0 }, operator);
  const [left, ...more] = await listed(server.url, shop);
  assert.deepEqual([left!.id, left!.readable, more.length], [ours.id, true, 0]);
  assert.ok(!(await listed(server.url, operator)).some(({ id }) => id === ours.id || id === theirs.id));
});

test('with another key file the server starts, says so, refuses in one sentence, and a rotation mends it', async (t) => {
  const told: string[] = [];
  const warn: Log['warn'] = (event, fields) => void told.push(`${event} ${String(fields?.['detail'])}`);
  const log: Log = { debug: undefined, info: undefined, warn, error: warn };
  const { server, keyFile } = await start(t, { namespaces: ['default', 'shop'], extras: { log } });
  const [operator, shop] = [server.key('default'), server.key('shop')];
  const old = await rotated(server.url, {}, operator);
  await rotated(server.url, {}, shop);
  await server.restart({ log });
  assert.deepEqual(told, [], 'with the same key there is nothing to say');

  const away = `${keyFile}.away`;
  await rename(keyFile, away);
  await server.restart({ log });
  assert.match(
    told[0]!,
    /^secrets\.locked the callback secrets of the namespaces default, shop .*not there.*bring back/,
  );
  const missing = await get(server.url + path, { key: operator });
  assertProblem(missing, 409, 'secrets-locked');
  assert.ok(missing.text.includes(keyFile), 'the file to bring back');
  assert.match(missing.text, /secrets rotate/);
  const tenant = await get(server.url + path, { key: shop });
  assertProblem(tenant, 409, 'secrets-locked');
  assert.ok(!tenant.text.includes(keyFile), 'paths of the server are for its operator');
  await assert.rejects(stat(keyFile), { code: 'ENOENT' }, 'looking makes no key');

  await writeFile(keyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  assert.match((await get(server.url + path, { key: operator })).text, /another secret key/);
  const fresh = await rotated(server.url, {}, operator);
  assert.deepEqual(
    (await listed(server.url, operator)).map(({ id, readable }) => [id, readable]),
    [
      [fresh.id, true],
      [old.id, false],
    ],
  );
  assertProblem(await get(server.url + path, { key: shop }), 409, 'secrets-locked');

  await rename(away, keyFile);
  assert.equal((await listed(server.url, shop)).length, 1, 'the right file is used without a restart');
});

test('a key file that others may read, that is none, or that cannot be made is refused with what to do', async (t) => {
  const { server, keyFile } = await start(t);
  const refused = async (expected: RegExp): Promise<void> => {
    const answer = await rotate(server.url);
    assertProblem(answer, 409, 'secrets-locked');
    const { detail } = answer.json<{ detail: string }>();
    assert.match(detail, expected);
    assert.ok(detail.includes(keyFile), detail);
    assert.equal((await get(server.url + path)).status, 200);
    assert.deepEqual(await listed(server.url), [], 'nothing was made');
  };
  await mkdir(join(keyFile, '..'), { recursive: true });
  const text = `${randomBytes(32).toString('base64')}\n`;
  await writeFile(keyFile, text);
  for (const mode of [0o644, 0o604, 0o660, 0o622]) {
    await chmod(keyFile, mode);
    await refused(/open to other users; close it with: chmod 600/);
  }
  await chmod(keyFile, 0o600);
  for (const wrong of ['', 'ossifrage', text.slice(1), `${text}${text}`, `${randomBytes(31).toString('base64')}\n`]) {
    await writeFile(keyFile, wrong);
    await refused(/holds no key/);
  }
  await rename(keyFile, `${keyFile}.old`);
  await mkdir(keyFile);
  await refused(/cannot be read \(EISDIR\)|holds no key|open to other users/);
  await rename(keyFile, `${keyFile}.folder`);
  await rotated(server.url);
  assert.notEqual(await readFile(keyFile, 'utf8'), text);
});

test('a link that leads into the data folder is no place for the key', async (t) => {
  if (variant.engine !== 'sqlite') return t.skip('skipped: the store is no folder');
  const folder = await temporaryFolder(t);
  const data = join(folder, 'data');
  await mkdir(data, { mode: 0o700 });
  await symlink(data, join(folder, 'link'));
  const server = await serverFor(t, { data, fields: { secretKeyFile: join(folder, 'link', 'secret.key') } });
  const answer = await rotate(server.url);
  assertProblem(answer, 409, 'secrets-locked');
  assert.match(answer.text, /in the data folder/);
  assert.ok(!(await readdir(data)).includes('secret.key'));
});

test('without a home and without the option, rotating says what to give', async (t) => {
  const server = await serverFor(t, { data: 'folder' });
  assert.deepEqual(await listed(server.url), []);
  const answer = await rotate(server.url);
  assertProblem(answer, 409, 'secrets-locked');
  assert.match(answer.text, /--secret-key-file FILE/);
});

test('no secret and no key in the log of a whole run, in any other answer, or in the store', async (t) => {
  const lines: string[] = [];
  const log = createLog('debug', { write: (line) => void lines.push(line) });
  const { server, keyFile } = await start(t, { extras: { log }, services: { jobs: { target: { pull: true } } } });
  const secrets: string[] = [];
  const answers: string[] = [];
  for (const body of [undefined, {}, { overlapHours: 2 }]) {
    secrets.push((await rotated(server.url, body)).secret);
    for (const other of [path, '/v1/services', '/openapi.json', '/metrics', '/', '/v1/operations'])
      answers.push((await get(server.url + other)).text);
    answers.push(
      (await rotate(server.url, { overlapHours: 'x' })).text,
      (await rotate(server.url, { secret: 1 })).text,
    );
    answers.push((await post(`${server.url}/v1/call/jobs`, { body: 'work' })).text);
    await server.restart({ log });
  }
  await chmod(keyFile, 0o644);
  answers.push((await rotate(server.url)).text);
  await chmod(keyFile, 0o600);
  await server.stop();
  assert.ok(lines.length > 0, 'the log was written');
  assert.ok(
    lines.some((line) => line.includes('secrets.rotated')),
    'rotations stand in it',
  );
  const key = (await readFile(keyFile, 'latin1')).trim();
  const { data } = server.config;
  const stored = variant.engine === 'sqlite' ? await contentOf(data) : [];
  for (const text of [...secrets.map((secret) => secret.slice(6)), key]) {
    const forms = [
      text,
      Buffer.from(text, 'base64').toString('hex'),
      Buffer.from(text, 'base64').toString('base64url'),
    ];
    for (const form of forms) assert.ok(![...lines, ...answers].some((one) => one.includes(form)));
    for (const bytes of stored)
      for (const form of [...forms, Buffer.from(text, 'base64')]) assert.ok(!bytes.includes(form));
  }
});

async function contentOf(folder: string): Promise<Buffer[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const files = entries.filter((one) => one.isFile() && one.name !== 'ballast');
  assert.ok(files.length > 0);
  return Promise.all(files.map(({ name }) => readFile(join(folder, name))));
}
