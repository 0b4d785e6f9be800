// The pull worker against a small server of leases: what it sends, in what order, and what it does with every kind of answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, type Job, type WaitlessError } from './index.ts';
import { leaseOf, leaseServer, start } from './lease-server.test.ts';
import { problem } from './support.test.ts';

test('a handler gets all of the request, and its answers go out with the next request for work', async (t) => {
  const fake = await leaseServer(t, [leaseOf('a'), leaseOf('b', { body: undefined, bodyBase64: 'AP8=' } as object)]);
  const jobs: Job[] = [];
  const worker = start(
    t,
    fake,
    (job) => {
      jobs.push(job);
      return job.id === 'a'
        ? { status: 201, headers: { 'X-B': '2' }, json: { id: job.id } }
        : Promise.resolve(Uint8Array.of(255, 0));
    },
    { name: 'w1', concurrency: 2, leaseSeconds: 9 },
  );
  await fake.until(() => fake.calls().some(({ settle }) => settle !== undefined));
  const [first, second] = fake.calls();
  assert.deepEqual(first, { worker: 'w1', max: 2, waitSeconds: 50, leaseSeconds: 9 });
  const headers = [
    ['content-type', 'application/json'],
    ['x-b', '2'],
  ];
  assert.deepEqual(second, {
    worker: 'w1',
    max: 2,
    leaseSeconds: 9,
    settle: [
      { token: 't-a', reply: { status: 201, headers, bodyBase64: btoa('{"id":"a"}') } },
      { token: 't-b', reply: { status: 200, headers: [], bodyBase64: '/wA=' } },
    ],
  });
  const [a, b] = jobs;
  const { headers: fields, body, text, json: _, signal, progress, ...plain } = a!;
  assert.deepEqual(plain, {
    id: 'a',
    correlationId: 'c-a',
    service: 'jobs',
    labels: { a: 'b' },
    createdAt: '2026-01-01T00:00:00Z',
    attempt: 2,
    lastAttempt: false,
    deadline: '2026-01-01T01:00:00Z',
    method: 'POST',
    path: '/x',
    query: 'q=1',
  });
  assert.deepEqual([fields.get('x-a'), text(), signal.aborted, typeof progress], ['1', 'body a', false, 'function']);
  assert.deepEqual([Buffer.from(body).toString(), [...b!.body]], ['body a', [0, 255]]);
  await worker.stop();
  assert.equal(signal.aborted, false);
});

test('a handler that throws fails the attempt, for good with retry: false; wrong answers are failures that say why', async (t) => {
  const thrown = new Map<string, () => never>([
    ['again', () => { throw new Error('no paint'); }],
    ['never', () => { throw Object.assign(new Error('bad input'), { code: 'bad-input', retry: false }); }],
    ['later', () => { throw Object.assign(new Error('busy'), { retryAfterSeconds: 30 }); }],
    // oxlint-disable-next-line no-throw-literal -- what careless handlers do
    ['text', () => { throw 'just text'; }],
  ]); // prettier-ignore
  const ids = [...thrown.keys(), 'object', '202', 'both'];
  const fake = await leaseServer(
    t,
    ids.map((id) => leaseOf(id)),
  );
  const failures: [string, unknown][] = [];
  const worker = start(
    t,
    fake,
    ({ id }) => {
      thrown.get(id)?.();
      if (id === 'object') return { score: 7 } as object;
      return id === '202' ? { status: 202 } : { body: 'a', json: 'b' };
    },
    { onFailure: (error, job) => failures.push([job.id, error]) },
  );
  await fake.until(() => ids.every((id) => fake.told(`t-${id}`).length > 0));
  await worker.stop();
  const told = (id: string) => (fake.told(`t-${id}`)[0] as { fail: { code: string; message: string } }).fail;
  assert.deepEqual(told('again'), { code: 'handler-failed', message: 'no paint', retry: true });
  assert.deepEqual(told('never'), { code: 'bad-input', message: 'bad input', retry: false });
  assert.deepEqual(told('later'), { code: 'handler-failed', message: 'busy', retry: true, retryAfter: 30 });
  assert.deepEqual(told('text'), { code: 'handler-failed', message: 'just text', retry: true });
  assert.match(told('object').message, /"score".*return \{ json: value \}/);
  assert.match(told('202').message, /202/);
  assert.match(told('both').message, /body and json/);
  assert.deepEqual(
    failures.map(([id]) => id),
    ids,
  );
});

test('no more than `concurrency` handlers, and no more asked for than there is room', async (t) => {
  const fake = await leaseServer(
    t,
    Array.from({ length: 40 }, (_, n) => leaseOf(`${n}`)),
  );
  let running = 0;
  let most = 0;
  let allBusy: () => void;
  const busy = new Promise<void>((resolve) => (allBusy = resolve));
  const worker = start(
    t,
    fake,
    async () => {
      most = Math.max(most, ++running);
      if (running === 3) allBusy();
      await busy;
      await new Promise((resolve) => setImmediate(resolve));
      running--;
    },
    { concurrency: 3, max: 2 },
  );
  await fake.until(() => fake.calls().flatMap(({ settle = [] }) => settle).length === 40);
  await worker.stop();
  assert.equal(most, 3);
  assert.ok(fake.calls().every(({ max }) => max! >= 1 && max! <= 2));
  assert.equal(new Set(fake.calls().flatMap(({ settle = [] }) => settle.map(({ token }) => token))).size, 40);
});

test('an answer whose connection broke is handed in again, the same', async (t) => {
  let broken = 0;
  const fake = await leaseServer(t, [leaseOf('a')], ({ body }, response) => {
    if (!body.includes('"settle"') || ++broken > 2) return false;
    if (broken === 1) response.destroy();
    else problem(response, 503, 'shutting-down');
    return true;
  });
  const retries: string[] = [];
  const worker = start(t, fake, () => 'done', { onRetry: (error) => retries.push(error.code) });
  await fake.until(() => fake.told('t-a').length === 3);
  await worker.stop();
  assert.deepEqual(retries, ['unreachable', 'shutting-down']);
  const [first, second, third] = fake.told('t-a');
  assert.deepEqual([second, third], [first, first]);
});

test('one answer that the server does not take costs no other; its own operation is failed with the reason', async (t) => {
  const large = 'x'.repeat(1024 * 1024 + 1);
  const fake = await leaseServer(
    t,
    ['good', 'bad', 'large', 'own'].map((id) => leaseOf(id)),
    (one, response) => {
      const refused = one.url.endsWith('/leases') ? one.body.includes('t-bad') : one.url === '/v1/leases/t-bad/reply';
      if (refused) problem(response, 413, 'payload-too-large', { detail: 'Too large.' });
      return refused;
    },
  );
  const failures: string[] = [];
  const worker = start(
    t,
    fake,
    ({ id }) => (id === 'large' ? large : id === 'own' ? { headers: { 'X-Own': '1' } } : id),
    {
      onFailure: (error, { id }) => failures.push(`${id} ${(error as WaitlessError).code}`),
    },
  );
  const paths = (): string[] => fake.seen.map(({ url }) => url);
  await fake.until(
    () =>
      paths().includes('/v1/leases/t-bad/fail') &&
      paths().includes('/v1/leases/t-good/reply') &&
      paths().includes('/v1/leases/t-large/reply') &&
      fake.told('t-own').length > 1,
  );
  await worker.stop();
  const fail = fake.seen.find(({ url }) => url === '/v1/leases/t-bad/fail');
  assert.deepEqual(JSON.parse(fail!.body.toString()), {
    code: 'payload-too-large',
    message: 'Too large.',
    retry: false,
  });
  assert.deepEqual(failures, ['bad payload-too-large']);
  const raw = fake.seen.find(({ url }) => url === '/v1/leases/t-large/reply');
  assert.equal(raw!.body.toString(), large);
  assert.equal(raw!.headers['result-status'], '200');
});

test('a request that nobody keeps is worked on and not answered', async (t) => {
  const fake = await leaseServer(t, [{ ...leaseOf('a'), token: 'none' }]);
  let worked = false;
  const worker = start(t, fake, async ({ progress }) => {
    await progress({ percent: 1 });
    worked = true;
    return 'x';
  });
  await fake.until(() => worked);
  await worker.stop();
  assert.ok(fake.calls().every(({ settle }) => settle === undefined));
  assert.deepEqual(fake.told('none'), []);
});

test('work that cannot be read fails by itself, and the worker goes on', async (t) => {
  const fake = await leaseServer(t, [leaseOf('odd', { headers: [['X-Odd', '\u0100']] }), leaseOf('good')]);
  const worker = start(t, fake, ({ id }) => id);
  await fake.until(() => fake.told('t-odd').length === 1 && fake.told('t-good').length === 1);
  await worker.stop();
  assert.deepEqual(fake.told('t-odd'), ['/v1/leases/t-odd/fail']);
});

test('wrong options are refused at once; an aborted signal stops as stop() does', async (t) => {
  const fake = await leaseServer(t, []);
  const client = createClient({ url: fake.url });
  for (const options of [
    { concurrency: 0 },
    { max: 1.5 },
    { max: 1001 },
    { leaseSeconds: 0 },
    { leaseSeconds: 90_000 },
  ])
    assert.throws(() => client.worker('jobs', () => 'x', options), { code: 'invalid-parameter' });
  assert.throws(() => client.worker('a/b', () => 'x'), { code: 'invalid-name' });
  assert.throws(() => client.worker('jobs', () => 'x', { name: 'a b' }), { code: 'invalid-name' });
  const controller = new AbortController();
  const worker = client.worker('jobs', () => 'x', { signal: controller.signal });
  assert.match(worker.name, /^worker-[0-9a-f]{8}$/);
  await fake.until(() => fake.calls().length === 1);
  controller.abort();
  await worker.done;
});
