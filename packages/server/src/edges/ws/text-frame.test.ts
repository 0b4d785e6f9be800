// Messages as bytes: each of the three lengths of RFC 6455, read back by another implementation of it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { test } from 'node:test';
import * as ws from 'ws';
import { eventFrame, eventMessage } from './event-frames.ts';
import type { OperationEvent } from '../../core/operation-events.ts';
import { messageOf, textFrame } from './text-frame.ts';

/** The parser of the library, which its types do not know. */
const { Receiver } = ws as unknown as { Receiver: new (options: { isServer: boolean }) => Writable };

/** What a client of the library reads. */
async function readBack(bytes: Buffer): Promise<string> {
  const receiver = new Receiver({ isServer: false });
  const message = once(receiver, 'message');
  receiver.write(bytes);
  const [data] = (await message) as [Buffer];
  return data.toString('utf8');
}

test('texts of every length come back as they were', async () => {
  for (const length of [0, 1, 125, 126, 65_535, 65_536, 200_000]) {
    const text = 'é'.repeat(length >> 1) + 'x'.repeat(length & 1);
    assert.equal(await readBack(textFrame(text)), text, String(length));
  }
});

const event = (version: number): OperationEvent => ({
  version,
  kind: 'progress',
  done: false,
  at: 0,
  members: `"version":${version}`,
});

test('what is told to many is put into bytes once for all who know the server and their watch under one name', async () => {
  const events = [event(3), event(4)];
  const one = eventMessage(events, { id: 'op', base: 'http://a', ref: 'w' });
  assert.equal(eventMessage(events, { id: 'op', base: 'http://a', ref: 'w' }), one);
  const others = [
    eventMessage(events, { id: 'op', base: 'http://a', ref: 'x' }),
    eventMessage(events, { id: 'op', base: 'http://a', ref: undefined }),
    eventMessage(events, { id: 'op', base: 'http://b', ref: 'w' }),
    eventMessage([...events], { id: 'op', base: 'http://a', ref: 'w' }),
  ];
  for (const other of others) assert.notEqual(other, one);
  assert.deepEqual(JSON.parse(await readBack(one)), [
    { type: 'event', ref: 'w', id: 'op_3', event: { version: 3 } },
    { type: 'event', ref: 'w', id: 'op_4', event: { version: 4 } },
  ]);
  assert.deepEqual(
    JSON.parse(await readBack(others[1]!)),
    JSON.parse(messageOf(events.map((one) => eventFrame(one, { id: 'op', base: 'http://a', ref: undefined })))),
  );
});

test('a name of a watch can end no string', () => {
  const ref = '"},{"type":"ok"\u2028\\';
  assert.equal((JSON.parse(eventFrame(event(1), { id: 'op', base: '', ref })) as { ref: string }).ref, ref);
});
