// `waitless subscriptions`, `dead-letters` and `redrive`: what is asked for, and what a person and a script are told.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeServer, run, sendJson, sendProblem } from '../support.test.ts';

const one = {
  name: 'mails',
  state: 'active',
  blockedUntil: null,
  createdAt: '2026-01-01T00:00:00Z',
  savedAt: '2026-01-01T00:00:00Z',
  readTo: 41,
  lag: { atLeast: 3, atMost: 3 },
  oldestUnacknowledged: { position: 40, since: '2026-01-01T00:00:30Z' },
  open: { waiting: 1, sending: 1, held: 0, dead: 2 },
  document: { topic: 'orders.*', target: { url: 'https://example.com/hook' } },
};
const wide = {
  ...one,
  name: 'all',
  lag: { atLeast: 1, atMost: 9 },
  oldestUnacknowledged: null,
  state: 'unusable',
  problem: 'no key',
};
const letter = (position: number) => ({
  position,
  topic: 'orders.ready',
  orderingKey: null,
  attempt: 5,
  takenAt: '2026-01-01T00:00:00Z',
  code: 'nacked',
  detail: 'no dough',
  event: { specversion: '1.0', id: 'e', source: 's', type: 't', data: { n: 1 } },
});

test('subscriptions: a table of how they are, lag by itself, and what to do where there are none', async (t) => {
  const { env } = await fakeServer(t, ({ path }, response) =>
    path === '/v1/subscriptions'
      ? sendJson(response, 200, { items: [one, { ...wide, open: { ...one.open, dead: 0 } }], next: null })
      : sendJson(response, 200, one),
  );
  const script = await run(['subscriptions'], { env });
  assert.deepEqual(script.stdout.split('\n'), [
    'mails\tactive\torders.*\thttps://example.com/hook\t3\t2\t2\t2026-01-01T00:00:30Z',
    'all\tunusable\torders.*\thttps://example.com/hook\t1-9\t2\t0\t',
    '',
  ]);
  const person = await run(['subscriptions'], { env: { ...env, NO_COLOR: '1' }, tty: true });
  assert.match(
    person.stdout,
    /^NAME +STATE +TOPICS +TARGET +LAG +OPEN +DEAD +OLDEST UNACKNOWLEDGED\nmails .* #40, for 30 s\n/,
  );
  assert.match(person.stderr, /unusable: no key\nDead letters: npx waitless dead-letters mails\n/);
  assert.equal((await run(['subscriptions', 'lag', 'mails'], { env })).stdout, 'mails\t3\t2\t2026-01-01T00:00:30Z\n');
  assert.deepEqual(JSON.parse((await run(['subscriptions', 'get', 'mails'], { env })).stdout), one);
  const none = await fakeServer(t, (_, response) => sendJson(response, 200, { items: [], next: null }));
  const empty = await run(['subscriptions'], { env: none.env, tty: true });
  assert.match(empty.stderr, /No subscriptions\. npx waitless subscriptions put history/);
});

test('subscriptions put, pause, resume and rm send what was typed', async (t) => {
  const { env, seen } = await fakeServer(t, ({ method }, response) =>
    method === 'DELETE' ? void response.writeHead(204).end() : sendJson(response, 200, one),
  );
  const words = [
    'subscriptions',
    'put',
    'mails',
    '--topic',
    'a.*',
    '--topic',
    'b',
    '--to',
    'https://x.example',
    '--ordered',
  ];
  const put = await run([...words, '--filter', 'type=a', '--from', '41', '--max-attempts', '3'], { env });
  assert.deepEqual([put.code, put.stdout], [0, 'mails\tactive\n']);
  assert.equal(`${seen[0]!.method} ${seen[0]!.path}`, 'PUT /v1/subscriptions/mails');
  assert.deepEqual(JSON.parse(seen[0]!.body.toString()), {
    topics: ['a.*', 'b'],
    filter: { exact: { type: 'a' } },
    target: { url: 'https://x.example' },
    from: 41,
    ordered: true,
    retry: { maxAttempts: 3 },
  });
  const stdin = '{"topic":"x","target":{"pull":true}}';
  const file = await run(['subscriptions', 'put', 'mails', '--file', '-'], {
    env: { ...env, NO_COLOR: '1' },
    stdin,
    tty: true,
  });
  assert.equal(seen[1]!.body.toString(), stdin);
  assert.match(file.stderr, /To take its events: npx waitless consume mails/);
  for (const what of ['pause', 'resume', 'rm'])
    assert.equal((await run(['subscriptions', what, 'mails'], { env })).code, 0);
  assert.deepEqual(
    seen.slice(2).map(({ method, path }) => `${method} ${path}`),
    ['POST /v1/subscriptions/mails/pause', 'POST /v1/subscriptions/mails/resume', 'DELETE /v1/subscriptions/mails'],
  );
  const before = seen.length;
  for (const [line, wrong] of [
    ['put mails --pull', /of which topics\? --topic/],
    ['put mails --topic a', /Exactly one of --pull, --service NAME and --to URL/],
    ['put mails --topic a --pull --service x', /Exactly one/],
    ['put mails --file - --topic a', /--file is the whole document/],
    ['pause mails --max-in-flight 3', /--max-in-flight belongs to `subscriptions put`/],
    ['get', /which one\? npx waitless subscriptions get NAME/],
    ['ls mails', /npx waitless subscriptions get mails/],
    ['puase mails', /ls, get, put, rm, pause, resume, lag/],
  ] as const) {
    const { code, stderr } = await run(['subscriptions', ...line.split(' ')], { env });
    assert.equal(code, 2, line);
    assert.match(stderr, wrong);
  }
  assert.equal(seen.length, before);
});

test('dead letters are listed with their reasons, and redriven: some, all, or none for a look', async (t) => {
  const { env, seen } = await fakeServer(t, ({ method, query, body }, response) => {
    if (method === 'POST') {
      const { positions } = JSON.parse(body.toString()) as { positions?: number[] };
      return sendJson(response, 200, { redriven: positions?.length ?? 2 });
    }
    const second = query.has('cursor');
    return sendJson(response, 200, { items: [letter(second ? 57 : 41)], next: second ? null : 'c' });
  });
  const script = await run(['dead-letters', 'mails'], { env });
  assert.equal(script.stdout.split('\n')[1], '57\torders.ready\t2026-01-01T00:00:00Z\t5\tnacked: no dough\t{"n":1}');
  const json = await run(['dead-letters', 'mails', '--json', '--limit', '1'], { env });
  assert.deepEqual(JSON.parse(json.stdout), letter(41));
  const person = await run(['dead-letters', 'mails'], { env: { ...env, NO_COLOR: '1' }, tty: true });
  assert.match(person.stdout, /POSITION +TOPIC +TAKEN +ATTEMPTS +WHY +DATA\n +41 .*1 min ago/);
  assert.match(person.stderr, /To try them again: npx waitless redrive mails --all/);

  seen.length = 0;
  assert.equal((await run(['redrive', 'mails', '--all', '--dry-run'], { env })).stdout, '41\n57\n');
  assert.equal((await run(['redrive', 'mails', '--position', '57', '--dry-run'], { env })).stdout, '57\n');
  assert.ok(
    seen.every(({ method }) => method === 'GET'),
    'a look changes nothing',
  );
  assert.equal((await run(['redrive', 'mails', '--position', '41', '--position', '57'], { env })).stdout, '2\n');
  assert.equal((await run(['redrive', 'mails', '--all'], { env })).stdout, '2\n');
  const posted = seen.filter(({ method }) => method === 'POST').map(({ path, body }) => [path, body.toString()]);
  const path = '/v1/subscriptions/mails/redrive';
  assert.deepEqual(posted, [[path, '{"positions":[41,57]}'], [path, '{}']]); // prettier-ignore
  assert.equal((await run(['redrive', 'mails'], { env })).code, 2);

  const none = await fakeServer(t, ({ path: asked }, response) =>
    asked === '/v1/subscriptions'
      ? sendJson(response, 200, { items: [], next: null })
      : sendProblem(response, 404, 'unknown-subscription', 'there is none'),
  );
  const unknown = await run(['dead-letters', 'mails'], { env: none.env });
  assert.match(
    unknown.stderr,
    /there is no subscription "mails", nor any other\. `npx waitless subscriptions put mails/,
  );
});
