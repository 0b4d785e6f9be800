// What the database cannot keep, or keeps only with care: each is refused alone or kept as it is, and takes nothing else with it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Submission } from '../../packages/server/src/engine/engine.ts';
import { decodeHints, encodeHints } from '../../packages/server/src/engines/postgres/hints.ts';
import { cleanUp } from '../support/cleanup.ts';
import { noise } from '../support/fixtures.ts';
import { kindsOf, lease, postgresStore, settle, skip, submit, succeeded } from './postgres-store.ts';
import { event as newEvent } from '../../packages/server/src/engine/conformance/log-race.ts';

const noKey = { fingerprint: 'f', expiresAt: Number.MAX_SAFE_INTEGER, retryFailed: false };
const long = noise(9000).toString('base64');

const refused: Record<string, Partial<Submission>> = {
  'a NUL in a text': { correlationId: 'a\0b' },
  'half of a surrogate pair in a text': { correlationId: 'a\ud800b' },
  'half of a surrogate pair in a key': { idempotency: { ...noKey, key: 'a\ud800' } },
  'another half in a key': { idempotency: { ...noKey, key: 'a\ud801' } },
  'half of a surrogate pair in a label': { labels: { a: '\ud800' } },
  'a NUL in a label': { labels: { a: '\0' } },
  'a key longer than an index takes': { idempotency: { ...noKey, key: long } },
  'a correlation id longer than an index takes': { correlationId: long },
  'a label longer than an index takes': { labels: { a: long } },
  'a rank beyond 64 bits': { rank: 1e19 },
  'a deadline that never comes': { deadlineAt: Number.POSITIVE_INFINITY },
  'a queue that is not there': { queue: 2 ** 31 },
};

const kept: Record<string, Partial<Submission>> = {
  'no bytes': { body: Buffer.alloc(0) },
  'the smallest rank': { rank: -(2 ** 63) },
  'a large rank': { rank: Number.MAX_SAFE_INTEGER },
  'a late deadline and a long retention': { deadlineAt: Number.MAX_SAFE_INTEGER, retentionMs: 1e15 },
  'a label with the name of a prototype': {
    labels: JSON.parse('{"__proto__":"x","constructor":"y"}') as Record<string, string>,
  },
  'many labels': { labels: Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`name-${i}`, 'value'])) },
  'a whole surrogate pair': { correlationId: 'a\u{1f600}', labels: { ä: '\u{1f600}' } },
};

test('what cannot be stored is refused alone, what can is kept as it was', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  for (const [what, more] of Object.entries(refused))
    assert.deepEqual(kindsOf(await submit(node, [{}, more, {}])), ['new', 'refused', 'new'], what);
  const [{ count } = {}] = await store.sql('SELECT count(*)::int FROM operation');
  assert.equal(count, Object.keys(refused).length * 2);
  for (const [what, more] of Object.entries(kept)) {
    const [outcome] = await submit(node, [more]);
    assert.equal(outcome?.kind, 'new', what);
    const [record] = await node.engine.recordsOf(outcome.kind === 'new' ? [outcome.seq] : []);
    assert.deepEqual(JSON.stringify(record?.labels), JSON.stringify(more.labels ?? null), what);
    assert.equal(record?.correlationId, more.correlationId ?? null, what);
  }
});

test(
  'numbers no column holds are refused alone as well, and a message that was cut in two is kept',
  { skip },
  async (t) => {
    const store = await postgresStore(t);
    const node = await store.node();
    await submit(node, [{}, {}, {}, {}]);
    const [a, b, c, d] = await lease(node);
    const huge = {
      ...succeeded,
      result: { ...(succeeded as { result: object }).result, status: 2 ** 33 },
    } as typeof succeeded;
    const item = (of: { seq: number; leaseNo: number }, transition = succeeded) => ({
      seq: of.seq,
      leaseNo: of.leaseNo,
      transition,
      backendStatus: 200,
    });
    const outcomes = await node.engine.settle(
      [
        item(a!, huge),
        item(b!),
        { ...item(c!), leaseNo: 2 ** 31 },
        item(d!, { to: 'failed', error: { code: 'cut', message: 'half of \ud83d' }, result: null }),
      ],
      node.clock.now(),
    );
    assert.deepEqual(kindsOf(outcomes), ['refused', 'recorded', 'refused', 'recorded']);
    assert.deepEqual(kindsOf(await settle(node, [a!, c!])), ['recorded', 'recorded']);
    const [record] = await node.engine.recordsOf([d!.seq]);
    assert.equal(record?.error?.message, 'half of \ufffd');
    await assert.rejects(
      node.engine.extend({ seq: 1, leaseNo: 2 ** 31, leaseMs: 1, progress: null }, node.clock.now()),
      { code: 'invalid-parameter' },
    );
  },
);

test('an item that is refused in a second round takes back nothing that the first one stored', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  const key = (expiresAt: number) => ({ ...noKey, key: 'k', expiresAt });
  await submit(node, [{ idempotency: key(node.clock.now() + 1000) }]);
  node.clock.advance(1001);
  // The key stands for nothing any more, which is found after the others were stored; its labels are refused only then.
  const spoilt = { labels: { a: '\0' }, idempotency: key(node.clock.now() + 1000) };
  assert.deepEqual(kindsOf(await submit(node, [{}, spoilt, {}])), ['new', 'refused', 'new']);
  const [{ count } = {}] = await store.sql('SELECT count(*)::int FROM operation');
  assert.equal(count, 3);
});

test('bodies are the same bytes where role or database ask for the older way of writing them', { skip }, async (t) => {
  const store = await postgresStore(t);
  const role = `r_${store.schema}`;
  await store.sql(`CREATE ROLE ${role} SUPERUSER LOGIN PASSWORD 'secret'`);
  cleanUp(t, () => store.sql(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`));
  await store.sql(`ALTER ROLE ${role} SET bytea_output = 'escape'`);
  const url = Object.assign(new URL(store.url), { username: role, password: 'secret' }).href;
  const node = await store.node({ url });
  const body = noise(1000);
  await submit(node, [{ body }]);
  const [leased] = await lease(node);
  assert.deepEqual(Buffer.from(leased!.body!), body);
  await node.close();
});

test('a log takes appends for ever: none of them uses up a number that runs out', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  const event = newEvent({ namespace: 'n' });
  await node.engine.append([event], node.clock.now());
  await store.sql(`SELECT setval(pg_get_serial_sequence('log', 'id'), 2147483646)`);
  for (const position of [2, 3, 4])
    assert.deepEqual(await node.engine.append([event], node.clock.now()), [{ kind: 'appended', position }]);
});

test('what others say on our channel is no hint and does no harm', { skip }, async (t) => {
  const store = await postgresStore(t);
  const [speaker, listener] = [await store.node(), await store.node()];
  const heard = new Promise<number>((resolve) =>
    listener.engine.onSignal((signal) => void (signal.kind === 'operation' && resolve(signal.seq))),
  );
  for (const payload of [
    '',
    'x',
    'x e%',
    'x e%zz',
    'x q!',
    'x qzzzzzzzzzzzzzzzz',
    'x c-1',
    'x o1',
    '\u{1f600}',
    `x ${'q1 '.repeat(2000)}`,
  ])
    await store.sql('SELECT pg_notify($1, $2)', [`waitless ${store.schema}`, payload]);
  await submit(speaker);
  const [leased] = await lease(speaker);
  assert.equal(await heard, leased!.seq);
});

test('hints come back as they were said, however many and whatever the names', () => {
  const logs = ['plain', 'with space', 'with/slash', '%', 'ä\u{1f600}', 'q1', ''];
  const seqs = Array.from({ length: 3000 }, (_, i) => 36 ** 9 + i);
  const said = {
    changed: seqs,
    ended: [1, Number.MAX_SAFE_INTEGER],
    queues: [1, 2 ** 31 - 1],
    logs,
    documents: true,
    deliveries: true,
    subscriptions: true,
    hello: true,
  };
  const payloads = encodeHints('7', said);
  assert.ok(payloads.every((payload) => payload.length < 8000));
  const heard = payloads.map((payload) => decodeHints(payload));
  assert.ok(heard.every((one) => one?.sender === '7'));
  for (const kind of ['changed', 'ended', 'queues', 'logs'] as const)
    assert.deepEqual(
      heard.flatMap<number | string>((one) => one!.hint[kind]),
      said[kind],
    );
  for (const kind of ['documents', 'deliveries', 'subscriptions', 'hello'] as const)
    assert.deepEqual(
      heard.map((one) => one!.hint[kind]),
      heard.map((_, i) => i === 0),
      `${kind} is said once`,
    );
});
