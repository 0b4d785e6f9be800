// `secrets`: the list shows no value, a rotation prints the new one once and alone, and each refusal is one sentence.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeServer, run, sendJson, sendProblem } from '../support.test.ts';

const items = [
  { id: 'cs_b', createdAt: '2026-01-31T12:30:00.250Z', ageSeconds: 3600, validUntil: null, readable: true },
  {
    id: 'cs_a',
    createdAt: '2026-01-01T00:00:00.000Z',
    ageSeconds: 2_637_000,
    validUntil: '2026-02-01T12:30:00.250Z',
    readable: false,
  },
];
const rotated = {
  id: 'cs_c',
  secret: 'whsec_b3NzaWZyYWdl',
  createdAt: '2026-01-31T12:30:00.250Z',
  previous: { id: 'cs_b', validUntil: '2026-02-01T12:30:00.250Z' },
};

test('the list, for a script, for a person, and as JSON', async (t) => {
  const { env, seen } = await fakeServer(t, (_, response) => sendJson(response, 200, { items, next: null }));
  const script = await run(['secrets'], { env: { ...env, WAITLESS_API_KEY: 'k1' } });
  assert.deepEqual([script.code, script.stderr], [0, '']);
  assert.equal(
    script.stdout,
    'cs_b\t2026-01-31T12:30:00.250Z\t3600\t\tin use\ncs_a\t2026-01-01T00:00:00.000Z\t2637000\t2026-02-01T12:30:00.250Z\tsealed with another key\n',
  );
  const person = await run(['secrets', 'list'], { env: { ...env, NO_COLOR: '1' }, tty: true });
  assert.match(person.stdout, /^ID +MADE +AGE +SIGNS UNTIL +STATE\ncs_b .* 1 h .* rotated .* in use\n/);
  assert.deepEqual(JSON.parse((await run(['secrets', '--json'], { env })).stdout), { items });
  assert.deepEqual(
    seen.map(({ method, path }) => `${method} ${path}`),
    Array.from({ length: 3 }, () => 'GET /v1/callback-secrets'),
  );
  assert.equal(seen[0]!.headers.authorization, 'Bearer k1');
});

test('none yet: nothing for a script, what to do for a person', async (t) => {
  const { env } = await fakeServer(t, (_, response) => sendJson(response, 200, { items: [], next: null }));
  assert.deepEqual(await run(['secrets'], { env }).then(({ code, stdout, stderr }) => [code, stdout, stderr]), [
    0,
    '',
    '',
  ]);
  assert.match((await run(['secrets'], { env, tty: true })).stderr, /npx waitless secrets rotate/);
});

test('a rotation prints the value alone, and to a person what to do with it', async (t) => {
  const { env, seen } = await fakeServer(t, (_, response) => sendJson(response, 200, rotated));
  const script = await run(['secrets', 'rotate', '--overlap-hours', '0.5'], { env });
  assert.deepEqual([script.code, script.stdout, script.stderr], [0, `${rotated.secret}\n`, '']);
  const person = await run(['secrets', 'rotate'], { env: { ...env, NO_COLOR: '1' }, tty: true });
  assert.equal(person.stdout, `${rotated.secret}\n`);
  assert.ok(!person.stderr.includes(rotated.secret), 'the value stands in one place');
  assert.match(
    person.stderr,
    /receives your callbacks.*\n.*nothing else to do.*\nUntil 2026-02-01T12:30:00.250Z .*cs_b/,
  );
  assert.deepEqual(JSON.parse((await run(['secrets', 'rotate', '--json'], { env })).stdout), rotated);
  assert.deepEqual(
    seen.map(({ method, path, body }) => [method, path, body.toString()]),
    ['{"overlapHours":0.5}', '{}', '{}'].map((body) => ['POST', '/v1/callback-secrets/rotate', body]),
  );
});

test('refusals and wrong words: one sentence, and nothing is rotated by mistake', async (t) => {
  const detail = 'the secret key file /x is open to other users; close it with: chmod 600 /x';
  const { env, seen } = await fakeServer(t, (_, response) => sendProblem(response, 409, 'secrets-locked', detail));
  for (const argv of [['secrets'], ['secrets', 'rotate']]) {
    const { code, stdout, stderr } = await run(argv, { env });
    assert.deepEqual([code, stdout], [1, '']);
    assert.equal(stderr.split('\n')[0], `waitless: ${detail}`);
  }
  const sent = seen.length;
  for (const argv of [
    ['secrets', 'rotat'],
    ['secrets', 'rotate', 'now'],
    ['secrets', '--overlap-hours', '1'],
    ['secrets', 'rotate', '--overlap-hours', '169'],
    ['secrets', 'rotate', '--overlap-hours', '-1'],
    ['secrets', 'rotate', '--overlap-hours', 'day'],
  ])
    assert.equal((await run(argv, { env })).code, 2, argv.join(' '));
  assert.equal(seen.length, sent);
});
