// A stream is read as the HTML standard says, however it is cut into pieces on its way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Message, messages } from './event-stream.ts';

const places: string[] = [];

async function read(...pieces: (string | Uint8Array)[]): Promise<Message[]> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces)
        controller.enqueue(typeof piece === 'string' ? new TextEncoder().encode(piece) : piece);
      controller.close();
    },
  });
  const found = [];
  const onPlace = (id: string): void => void places.push(id);
  for await (const message of messages(body, undefined, onPlace)) found.push(message);
  return found;
}

const text =
  'id: a_1\r\nevent: running\r\ntopic: a.b\r\ndata: {"a":\r\ndata: "ü"}\r\n\r\n: comment\r\n\r\nid: a_2\ndata:x\n\nid: a_3\ndata\n\n';
const expected = [
  { id: 'a_1', event: 'running', data: '{"a":\n"ü"}', more: { topic: 'a.b' } },
  { id: 'a_2', event: 'message', data: 'x', more: {} },
  { id: 'a_3', event: 'message', data: '', more: {} },
];

test('events are the same wherever the stream is cut, in the middle of a character or a line end too', async () => {
  const bytes = new TextEncoder().encode(text);
  assert.deepEqual(await read(bytes), expected);
  for (let at = 1; at < bytes.length; at++)
    assert.deepEqual(await read(bytes.subarray(0, at), bytes.subarray(at)), expected, `cut at ${at}`);
  assert.deepEqual(await read(...Array.from(bytes, (byte) => Uint8Array.of(byte))), expected);
});

test('what the stream breaks off in is no event, and fields that mean nothing are passed over', async () => {
  assert.deepEqual(await read('id: 1\ndata: x\n'), []);
  const more = { retry: '5', other: 'y' };
  assert.deepEqual(await read('gone: x\n\nid: 2\n\nretry: 5\nother: y\ndata: z\n\n'), [
    { id: '2', event: 'message', data: 'z', more },
  ]);
  assert.deepEqual(places.at(-1), '2', 'where the reader stands before the first event');
  assert.deepEqual(await read('id: 1\rdata: x\r\r'), []);
  assert.deepEqual(await read('id: 1\rdata: x\r\r:\n'), [{ id: '1', event: 'message', data: 'x', more: {} }]);
});

test('whoever stops reading lets go of the stream', async () => {
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new TextEncoder().encode('data: x\n\n')),
    cancel: () => void (cancelled = true),
  });
  for await (const message of messages(body)) {
    assert.equal(message.data, 'x');
    break;
  }
  assert.ok(cancelled);
});
