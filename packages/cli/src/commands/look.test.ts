// The commands that look and end: result, watch, get, ls, cancel, timeline, services.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Operation, TimelineEntry } from '@waitless/client';
import { ended, fakeServer, operation, run, sendJson, sendProblem } from '../support.test.ts';

test('result: bytes as they are; nothing there yet is exit code 1 with the way to wait', async (t) => {
  const bytes = Buffer.from([0xff, 0x00, 0x01]);
  const { env, url } = await fakeServer(t, ({ path }, response) => {
    if (path.includes('pending'))
      sendJson(response, 202, operation({ id: 'pending', progress: { sequence: 1, stage: 'baking' } }));
    else if (path.includes('late')) sendProblem(response, 504, 'timed-out', 'Its time of 1s was over.');
    else response.writeHead(200, { 'Operation-Status': 'succeeded', 'Operation-Id': 'op1' }).end(bytes);
  });
  const done = await run(['result', 'op1'], { env });
  assert.equal(done.code, 0);
  assert.deepEqual(done.stdoutBytes, bytes);
  const json = await run(['result', 'op1', '--json'], { env });
  assert.deepEqual((JSON.parse(json.stdout) as { bodyBase64: string }).bodyBase64, bytes.toString('base64'));
  const pending = await run(['result', 'pending', '--url', url]);
  assert.deepEqual([pending.code, pending.stdout], [1, '']);
  assert.equal(
    pending.stderr,
    `waitless: there is no result yet (running, baking). To wait for it: npx waitless result pending --wait --url ${url}\n`,
  );
  const late = await run(['result', 'late'], { env });
  assert.deepEqual([late.code, late.stdout, late.stderr], [1, '', 'waitless: Its time of 1s was over.\n']);
});

test('watch: a line per change for people, NDJSON with --json, 0 only when all succeeded', async (t) => {
  const { env } = await fakeServer(t, ({ path, headers }, response) => {
    const id = path.split('/').at(-1)!;
    if (id === 'gone') sendProblem(response, 404, 'not-found', 'There is no such operation.');
    else if (headers['if-none-match'] === undefined)
      sendJson(response, 200, operation({ id, progress: { sequence: 1, stage: 'baking', percent: 39.6 } }), {
        ETag: 'W/"1"',
      });
    else
      sendJson(
        response,
        200,
        ended(id === 'bad' ? 'failed' : 'succeeded', {
          id,
          error: id === 'bad' ? { code: 'boom', message: 'It broke.\n' } : null,
        }),
        { ETag: 'W/"9"' },
      );
  });
  const good = await run(['watch', 'op1'], { env });
  assert.equal(good.code, 0);
  assert.deepEqual(
    good.stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split('  ').slice(1)),
    [
      ['op1', 'running, baking, 40 %'],
      ['op1', 'succeeded'],
    ],
  );
  const both = await run(['watch', 'op1', 'bad', '--json'], { env });
  assert.equal(both.code, 1);
  const states = both.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Operation);
  assert.deepEqual(states.map((one) => `${one.id} ${one.status}`).sort(), [
    'bad failed',
    'bad running',
    'op1 running',
    'op1 succeeded',
  ]);
  const gone = await run(['watch', 'op1', 'gone'], { env });
  assert.equal(gone.code, 1);
  assert.equal(gone.stderr, 'waitless: gone: There is no such operation.\n');
  assert.match((await run(['watch', 'bad'], { env })).stdout, /failed {2}boom: It broke\. *\n$/);
});

test('watch on a terminal: a line for each step stays, and below them moves a bar', async (t) => {
  const { promise: drawn, resolve: sawBar } = Promise.withResolvers<void>();
  const at = (version: number, stage: string, percent: number): Operation =>
    operation({ version, eventId: `op1_${version}`, progress: { sequence: version, stage, percent } });
  const states = [at(1, 'prep', 10), at(2, 'prep', 20), at(3, 'oven', 60)];
  const { env } = await fakeServer(t, ({ headers }, response) => {
    const version = Number(/\d+/.exec(headers['if-none-match'] ?? '0')![0]);
    const next = states[version];
    if (next) sendJson(response, 200, next, { ETag: `W/"${next.version}"` });
    else void drawn.then(() => sendJson(response, 200, ended('succeeded'), { ETag: 'W/"9"' }));
  });
  const { code, stdout, stderr } = await run(['watch', 'op1'], {
    env: { ...env, NO_COLOR: '1' },
    tty: true,
    onStderr: (text) => text.includes('60 %') && sawBar(),
  });
  assert.equal(code, 0);
  assert.deepEqual(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split('  ').at(-1)),
    ['running, prep', 'running, oven', 'succeeded'],
  );
  assert.match(stderr, /running, oven .*█+░+ 60 %/);
});

test('watch: Ctrl-C leaves the operations running and says how to come back, exit code 130', async (t) => {
  const { url } = await fakeServer(t, ({ headers, path }, response) => {
    // Beyond the first look the poll is held for ever.
    if (headers['if-none-match'] === undefined)
      sendJson(response, 200, operation({ id: path.split('/').at(-1)! }), { ETag: 'W/"1"' });
  });
  for (const [tty, ids] of [
    [false, ['op1', 'op2']],
    [true, ['op1']],
  ] as const) {
    let interrupt: () => void = () => undefined;
    const { code, stderr } = await run(['watch', ...ids, '--url', url], {
      tty,
      env: { NO_COLOR: '1' },
      onListening: (send) => (interrupt = () => send('SIGINT')),
      onStdout: (text) => text.includes('running') && interrupt(),
    });
    assert.equal(code, 130);
    assert.ok(
      stderr.includes(`goes on without you. Come back with: npx waitless watch ${ids.join(' ')} --url ${url}\n`),
      stderr,
    );
  }
});

test('ls: tabs and full times for scripts, a padded table for people, colour only without NO_COLOR', async (t) => {
  const items = [
    operation({ labels: { customer: '42' } }),
    ended('failed', { id: 'operation2', error: { code: 'timed-out', message: 'Too\tlate.' } }),
  ];
  const { env, seen } = await fakeServer(t, ({ query }, response) =>
    sendJson(response, 200, query.get('cursor') === null ? { items, next: 'c2' } : { items: [items[0]], next: null }),
  );
  const script = await run(
    [
      'ls',
      '--limit',
      '2',
      '--status',
      'running,failed',
      '--service',
      'score',
      '--key',
      'a/b c',
      '--label',
      'customer=42',
      '--created-after',
      '2026-01-01',
    ],
    { env },
  );
  assert.equal(script.code, 0);
  assert.equal(
    script.stdout,
    'op1\tscore\trunning\t2026-01-01T00:00:00.000Z\t\t1/5\tcustomer=42\noperation2\tscore\tfailed\t2026-01-01T00:00:00.000Z\t3000\t1/5\ttimed-out: Too late.\n',
  );
  assert.equal(script.stderr, '');
  assert.deepEqual(Object.fromEntries(seen[0]!.query), {
    service: 'score',
    status: 'running,failed',
    key: 'a/b c',
    'label.customer': '42',
    createdAfter: '2026-01-01T00:00:00.000Z',
    limit: '2',
  });
  const person = await run(['ls', '--limit', '2', '--key', 'a b', '--label', 'customer=42'], {
    env: { ...env, NO_COLOR: '1' },
    tty: true,
  });
  assert.equal(
    person.stdout,
    `ID          SERVICE  STATUS   CREATED    TOOK   ATTEMPT  DETAIL
op1         score    running  1 min ago         1/5      customer=42
operation2  score    failed   1 min ago  3.0 s  1/5      timed-out: Too late.
`,
  );
  assert.match(person.stderr, /npx waitless ls --key 'a b' --label customer=42 --limit 2 --cursor c2\n$/);
  assert.ok(!person.stdout.includes('\u001b'));
  const coloured = await run(['ls', '--limit', '2'], { env, tty: true });
  assert.ok(coloured.stdout.includes('\u001b[31mfailed'));
  const json = await run(['ls', '--limit', '3', '--json'], { env });
  const page = JSON.parse(json.stdout) as { items: Operation[]; next: string | null };
  assert.deepEqual([page.items.length, page.next], [3, null]);
});

test('get: what is known in lines, or the document', async (t) => {
  const { env } = await fakeServer(t, (_, response) =>
    sendJson(
      response,
      200,
      ended('failed', { labels: { a: '1' }, correlationId: 'order-1', error: { code: 'boom', message: 'It broke.' } }),
    ),
  );
  const { code, stdout } = await run(['get', 'op1'], { env });
  assert.equal(code, 0);
  assert.match(stdout, /^operation {3}op1\nservice {5}score\nstatus {6}failed\nerror {7}boom: It broke\.\n/);
  assert.match(stdout, /correlation {1}order-1\nlabels {6}a=1\ncreated {5}2026-01-01T00:00:00\.000Z \(1 min ago\)\n/);
  assert.equal(
    (JSON.parse((await run(['get', 'op1', '--json'], { env })).stdout) as Operation).correlationId,
    'order-1',
  );
});

test('cancel: each id on its own, the others go on, --purge forgets', async (t) => {
  const { env, seen } = await fakeServer(t, ({ path, query }, response) => {
    if (path.endsWith('gone')) sendProblem(response, 404, 'not-found', 'There is no such operation.');
    else if (query.get('purge') === 'true') response.writeHead(204).end();
    else sendJson(response, 200, path.endsWith('done') ? ended('succeeded', { id: 'done' }) : ended('cancelled'));
  });
  const { code, stdout, stderr } = await run(['cancel', 'op1', 'gone', 'done'], { env });
  assert.equal(code, 1);
  assert.equal(stdout, 'op1  cancelled\ndone  succeeded: it had ended before\n');
  assert.equal(stderr, 'waitless: gone: There is no such operation.\n');
  const purged = await run(['cancel', 'op1', '--purge'], { env });
  assert.deepEqual([purged.code, purged.stdout], [0, 'op1  forgotten\n']);
  assert.ok(seen.every((one) => one.method === 'DELETE'));
});

test('timeline and services', async (t) => {
  const entries: TimelineEntry[] = [
    { type: 'accepted', at: '2026-01-01T00:00:00.000Z' },
    {
      type: 'attempt',
      at: '2026-01-01T00:00:01.000Z',
      attempt: 1,
      endedAt: '2026-01-01T00:00:03.500Z',
      outcome: 'failed',
      backendStatus: 500,
      nextAt: '2026-01-01T00:00:04.000Z',
    },
    { type: 'finished', at: '2026-01-01T00:00:05.000Z', status: 'succeeded' },
  ];
  const { env } = await fakeServer(t, ({ path }, response) =>
    sendJson(
      response,
      200,
      path === '/v1/services'
        ? {
            items: [
              {
                name: 'score',
                target: 'http',
                mode: 'async',
                counts: { queued: 1, running: 2, succeeded: 3, failed: 4, cancelled: 5 },
                recent: { p50Ms: null, p90Ms: null, perMinute: 0 },
              },
            ],
            next: null,
          }
        : { items: entries, next: null },
    ),
  );
  const timeline = await run(['timeline', 'op1'], { env });
  assert.equal(
    timeline.stdout.split('\n')[1],
    '2026-01-01T00:00:01.000Z\t1000\tattempt 1\t2500\tfailed, backend answered 500, next at 2026-01-01T00:00:04.000Z',
  );
  assert.equal(timeline.stdout.split('\n')[2], '2026-01-01T00:00:05.000Z\t5000\tsucceeded\t\t');
  assert.equal((await run(['timeline', 'op1', '--json'], { env })).stdout.trimEnd().split('\n').length, 3);
  assert.equal((await run(['services'], { env })).stdout, 'score\thttp\tasync\t1\t2\t3\t4\t5\n');
});
