// The server's signatures: those of the specification, the same in one piece and in many, and ended when nobody waits any more.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { signatureFields } from './webhook-signature.ts';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const signal = new AbortController().signal;
const nowMs = 1_614_265_330_999;
const id = 'msg_p5jXN8AQM9LWM0D4loKWxJek';

async function* pieces(bytes: Uint8Array, size: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

test('the example of the specification', async () => {
  assert.deepEqual(
    await signatureFields({ secrets: [secret], id, nowMs, body: Buffer.from('{"test": 2432232314}'), signal }),
    [
      ['webhook-id', id],
      ['webhook-timestamp', '1614265330'],
      ['webhook-signature', 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='],
    ],
  );
});

test('a body in pieces has the signatures of the whole, one for each secret and in their order', async () => {
  const body = randomBytes(100_003);
  const secrets = [`whsec_${randomBytes(32).toString('base64')}`, secret];
  const whole = await signatureFields({ secrets, id, nowMs, body, signal });
  for (const size of [1 << 20, 65_536, 997])
    assert.deepEqual(await signatureFields({ secrets, id, nowMs, body: pieces(body, size), signal }), whole);
  const [, last] = whole[2]![1].split(' ');
  const alone = await signatureFields({ secrets: [secret], id, nowMs, body, signal });
  assert.equal(alone[2]![1], last);
});

test('an attempt that was ended reads no further', async () => {
  const abort = new AbortController();
  let read = 0;
  async function* endless(): AsyncIterable<Uint8Array> {
    for (;;) {
      if (++read === 3) abort.abort(new Error('over'));
      yield await Promise.resolve(new Uint8Array(10));
    }
  }
  await assert.rejects(
    signatureFields({ secrets: [secret], id, nowMs, body: endless(), signal: abort.signal }),
    /over/,
  );
  assert.equal(read, 3);
});
