// Signed requests as a receiver sees them: a vector of the specification, MACs made by another implementation, and everything that must be refused.
import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { type ReceivedHeaders, signWebhook, verifyWebhook, type WebhookCheck, WebhookRefused } from './index.ts';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const other = `whsec_${randomBytes(32).toString('base64')}`;
const seconds = 1_614_265_330;
const now = seconds * 1000;
const body = '{"test": 2432232314}';
/** The example that the libraries of standardwebhooks.com are tested with. */
const vector = {
  'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  'webhook-timestamp': String(seconds),
  'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
};

/** The specification once more, with Node's own HMAC. */
const macOf = (key: string, id: string, at: number | string, bytes: string | Uint8Array): string =>
  createHmac('sha256', Buffer.from(key.slice('whsec_'.length), 'base64'))
    .update(`${id}.${at}.`)
    .update(bytes)
    .digest('base64');
const signed = (given: { key?: string; id?: string; at?: number | string; bytes?: string | Uint8Array } = {}) => {
  const { key = secret, id = 'msg_1', at = seconds, bytes = body } = given;
  return {
    'webhook-id': id,
    'webhook-timestamp': String(at),
    'webhook-signature': `v1,${macOf(key, id, at, bytes)}`,
  };
};

const reasonOf = (check: Partial<WebhookCheck>): Promise<string> =>
  verifyWebhook({ headers: signed(), body, secrets: secret, now, ...check }).then(
    () => 'verified',
    (error: unknown) => {
      assert.ok(error instanceof WebhookRefused, String(error));
      assert.deepEqual([error.status, error.code, error.retry], [401, 'webhook-refused', false]);
      return error.reason;
    },
  );

test('the example of the specification is verified and made, byte for byte', async () => {
  assert.deepEqual(await verifyWebhook({ headers: vector, body, secrets: secret, now }), {
    id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    sentAt: new Date(now),
  });
  assert.deepEqual(await signWebhook({ id: vector['webhook-id'], body, secrets: secret, now: now + 999 }), vector);
});

test('MACs of another implementation are verified, and ours are theirs, for every kind of body', async () => {
  const bodies = {
    empty: '',
    text: 'ä€😀\r\n',
    binary: Uint8Array.from({ length: 256 }, (_, i) => i),
    large: randomBytes(1_000_003),
  };
  for (const [name, bytes] of Object.entries(bodies)) {
    for (const key of [
      secret,
      other,
      `whsec_${randomBytes(24).toString('base64')}`,
      `whsec_${randomBytes(64).toString('base64')}`,
    ]) {
      const headers = signed({ key, bytes });
      assert.equal(await reasonOf({ headers, body: bytes, secrets: key }), 'verified', name);
      assert.deepEqual(await signWebhook({ id: 'msg_1', body: bytes, secrets: key, now }), headers, name);
    }
  }
  const part = Buffer.from(`--${body}--`).subarray(2, -2);
  assert.equal(await reasonOf({ body: part }), 'verified', 'a view of a larger buffer');
  assert.equal(await reasonOf({ body: Uint8Array.from(Buffer.from(body)).buffer }), 'verified', 'an ArrayBuffer');
});

test('headers are read as fetch, Node and lists of pairs have them, in any case', async () => {
  const headers = signed();
  const rows: ReceivedHeaders[] = [
    new Headers(headers),
    Object.entries(headers),
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toUpperCase(), value])),
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]])),
    { ...headers, 'x-other': undefined },
  ];
  for (const row of rows) assert.equal(await reasonOf({ headers: row }), 'verified');
});

test('while a secret is replaced either one will do, on both sides, and afterwards the old one does not', async () => {
  assert.equal(await reasonOf({ secrets: [other, secret] }), 'verified');
  assert.equal(await reasonOf({ secrets: [secret, other] }), 'verified');
  assert.equal(await reasonOf({ secrets: [other] }), 'no-match');
  const both = await signWebhook({ id: 'msg_1', body, secrets: [other, secret], now });
  assert.equal(both['webhook-signature']!.split(' ').length, 2);
  for (const secrets of [secret, other]) assert.equal(await reasonOf({ headers: both, secrets }), 'verified');
  const later = {
    ...signed(),
    'webhook-signature': `v1a,${'A'.repeat(86)}== ${signed()['webhook-signature']} v2,AAAA`,
  };
  assert.equal(await reasonOf({ headers: later }), 'verified', 'versions that are not known are passed over');
});

test('the public library and this one agree through a rotation: each verifies what the other signed with the old, both and the new', async () => {
  const id = 'msg_rotated';
  const at = new Date(Math.floor(Date.now() / 1000) * 1000);
  const theirs = (key: string): string => new Webhook(key).sign(id, at, body);
  for (const keys of [[secret], [other, secret], [other]]) {
    const ours = await signWebhook({ id, body, secrets: keys, now: at.getTime() });
    const made = { ...ours, 'webhook-signature': keys.map(theirs).join(' ') };
    assert.deepEqual(ours, made);
    for (const key of [secret, other]) {
      const knows = keys.includes(key);
      assert.equal(await reasonOf({ headers: made, secrets: key, now: at.getTime() }), knows ? 'verified' : 'no-match');
      if (knows) assert.deepEqual(new Webhook(key).verify(body, ours), JSON.parse(body));
      else assert.throws(() => new Webhook(key).verify(body, ours));
    }
    assert.equal(await reasonOf({ headers: made, secrets: [other, secret], now: at.getTime() }), 'verified');
  }
});

test('T37: a signature that is cut short, empty or of another length is refused', async () => {
  const whole = signed()['webhook-signature'];
  const rows = [
    'v1,',
    'v1',
    '',
    ' ',
    'v1, ',
    ',',
    whole.slice(0, -1),
    whole.slice(0, 20),
    `${whole}=`,
    `${whole}A`,
    ` ${whole}`,
    `${whole} `,
    whole.replace(' ', '  '),
    `${whole} v1,`,
    `${whole},${whole}`,
    whole.slice(3),
    whole.replace('v1', 'V1'),
    Array.from({ length: 17 }, () => whole).join(' '),
    'v1,'.padEnd(100_000, 'A'),
  ].filter((field) => field !== whole);
  for (const field of rows) {
    const headers = { ...signed(), 'webhook-signature': field };
    assert.equal(await reasonOf({ headers }), 'malformed', field.slice(0, 80));
  }
  for (const version of ['v1a', 'v2', 'v10']) {
    const headers = { ...signed(), 'webhook-signature': whole.replace('v1', version) };
    assert.equal(await reasonOf({ headers }), 'no-match', `${version} is not v1`);
  }
});

test('one bit elsewhere in the body, the id, the time, the secret or the signature, and nothing fits', async () => {
  const headers = signed();
  assert.equal(await reasonOf({ body: `${body} ` }), 'no-match');
  assert.equal(await reasonOf({ body: JSON.stringify(JSON.parse(body)) }), 'no-match', 'parsed and written again');
  assert.equal(await reasonOf({ headers: { ...headers, 'webhook-id': 'msg_2' } }), 'no-match');
  assert.equal(await reasonOf({ headers: { ...headers, 'webhook-timestamp': String(seconds + 1) } }), 'no-match');
  assert.equal(await reasonOf({ secrets: other }), 'no-match');
  const mac = headers['webhook-signature'];
  for (let at = 3; at < mac.length - 2; at++) {
    const letter = mac[at] === 'A' ? 'B' : 'A';
    const bent = { ...headers, 'webhook-signature': mac.slice(0, at) + letter + mac.slice(at + 1) };
    assert.equal(await reasonOf({ headers: bent }), 'no-match', `at ${at}`);
  }
});

test('T63: what was caught once cannot be sent again after the tolerance, nor be dated ahead', async () => {
  for (const [apart, tolerance, expected] of [
    [300, undefined, 'verified'],
    [-300, undefined, 'verified'],
    [301, undefined, 'out-of-time'],
    [-301, undefined, 'out-of-time'],
    [300.5, undefined, 'out-of-time'],
    [10, 5, 'out-of-time'],
    [3600, 3600, 'verified'],
    [0, 0, 'verified'],
  ] as const)
    assert.equal(
      await reasonOf({ now: now + apart * 1000, toleranceSeconds: tolerance }),
      expected,
      `${apart} s, ${tolerance}`,
    );
  for (const at of [
    '',
    'now',
    '-1',
    '+1',
    '1e9',
    '01',
    '1.5',
    '0x1',
    ' 1',
    '1 ',
    `${seconds}, ${seconds}`,
    '9'.repeat(13),
    'NaN',
    'Infinity',
  ])
    assert.equal(await reasonOf({ headers: signed({ at }) }), 'malformed', at);
  await assert.rejects(
    verifyWebhook({ headers: vector, body, secrets: secret }),
    { reason: 'out-of-time' },
    'by its own clock',
  );
});

test('T64: an id with a dot, which could stand for two messages, is refused', async () => {
  for (const id of ['a.1', '', ' ', 'a b', 'a, b', 'ä', 'x'.repeat(257)])
    assert.equal(await reasonOf({ headers: signed({ id }) }), 'malformed', id);
  // The very same signed text, read in two ways.
  const first = signed({ id: 'a', at: seconds, bytes: `${seconds}.x` });
  assert.equal(await reasonOf({ headers: first, body: `${seconds}.x` }), 'verified');
  assert.equal(await reasonOf({ headers: { ...first, 'webhook-id': `a.${seconds}` }, body: 'x' }), 'malformed');
});

test('a field that is missing or stands there twice is refused, also where both were joined to one', async () => {
  const headers = signed();
  for (const name of Object.keys(headers) as (keyof typeof headers)[]) {
    const without: Record<string, string> = { ...headers };
    delete without[name];
    assert.equal(await reasonOf({ headers: without }), 'missing', name);
    assert.equal(await reasonOf({ headers: { ...headers, [name]: undefined } as never }), 'missing', name);
    const twice = [...Object.entries(headers), [name.toUpperCase(), headers[name]] as const];
    assert.equal(await reasonOf({ headers: twice }), 'malformed', name);
    assert.equal(
      await reasonOf({ headers: { ...headers, [name]: [headers[name], headers[name]] } }),
      'malformed',
      name,
    );
    const joined = new Headers(headers);
    joined.append(name, headers[name]);
    assert.equal(await reasonOf({ headers: joined }), 'malformed', name);
  }
});

test('what the receiver itself does wrong is a TypeError, and never lets anything through', async () => {
  const rows: Partial<Record<keyof WebhookCheck, unknown>>[] = [
    { secrets: [] },
    { secrets: '' },
    { secrets: 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' },
    { secrets: 'whsec_' },
    { secrets: `whsec_${randomBytes(23).toString('base64')}` },
    { secrets: `whsec_${randomBytes(65).toString('base64')}` },
    { secrets: [secret, 'whsec_***'] },
    { secrets: `${secret}\n` },
    { toleranceSeconds: Number.NaN },
    { toleranceSeconds: -1 },
    { toleranceSeconds: Infinity },
    { now: Number.NaN },
    { body: { test: 2_432_232_314 } },
    { body: null },
    { body: undefined },
  ];
  for (const row of rows) {
    const check = { headers: signed(), body, secrets: secret, now, ...row } as WebhookCheck;
    await assert.rejects(
      verifyWebhook(check),
      (error: Error) => error.name === 'TypeError' && !error.message.includes('MfKQ'),
      JSON.stringify(row),
    );
  }
  await assert.rejects(signWebhook({ id: 'a.b', body, secrets: secret }), TypeError);
});
