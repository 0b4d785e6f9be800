// What goes out as a stream is events and nothing else, whatever stands in them; and who wants a stream is read from Accept.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationEvent } from '../../core/operation-events.ts';
import type { Piece } from './exchange.ts';
import { asksForStream, eventText, frame, piecesOf, prefersJson } from './sse.ts';
import { pieceOf } from './watchers.ts';

/** As the HTML standard says it, for a stream that is whole. */
function read(text: string): { id: string; event: string; data: string }[] {
  return text
    .split(/(?:\r\n|\r|\n){2}/)
    .map((block) => block.split(/\r\n|\r|\n/).filter((line) => line !== '' && !line.startsWith(':')))
    .filter((lines) => lines.length > 0)
    .map((lines) => {
      const all = (name: string): string[] =>
        lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      assert.ok(lines.every((line) => /^(id|event|data): /.test(line)));
      return { id: all('id').at(-1)!, event: all('event').at(-1)!, data: all('data').join('\n') };
    });
}

for (const [what, data, arrives] of [
  ['plain', '{"a":1}', '{"a":1}'],
  ['LF', '{"a":\n1}', '{"a":\n1}'],
  ['CR', '{"a":\r1}', '{"a":\n1}'],
  ['CRLF', '{"a":\r\n1}', '{"a":\n1}'],
  ['a field of its own', '1\n\nevent: forged\ndata: x\n\nid: 9', '1\n\nevent: forged\ndata: x\n\nid: 9'],
  ['U+2028 and U+2029', '"\u2028\u2029"', '"\u2028\u2029"'],
  ['U+0085 and NUL', '"\u0085\u0000"', '"\u0085\u0000"'],
  ['nothing', '', ''],
  ['a leading space and colon', ' : x', ' : x'],
] as const) {
  test(`T56: an event whose data has ${what} stays one event`, () => {
    const text = frame({ id: 'a_1', event: 'progress', data }) + frame({ id: 'a_2', event: 'running', data: 'x' });
    assert.deepEqual(read(text), [
      { id: 'a_1', event: 'progress', data: arrives },
      { id: 'a_2', event: 'running', data: 'x' },
    ]);
  });
}

test('T56: an id or a name with a line end is refused', () => {
  for (const bad of ['a\nb', 'a\rb', 'a\0b']) {
    assert.throws(() => frame({ id: bad, event: 'x', data: '' }));
    assert.throws(() => frame({ id: 'x', event: bad, data: '' }));
  }
});

const event = (version: number): OperationEvent => ({
  version,
  kind: 'running',
  done: false,
  at: 0,
  members: `"version":${version}`,
});

const textOf = ({ chunk, from }: Piece): string => chunk.subarray(from, -2).toString();

test('events that came together are put into bytes once for all who know the server under one address', () => {
  const events = [event(1), event(2), event(3)];
  const piece = piecesOf(events, { id: 'op', base: 'http://a' });
  assert.equal(piecesOf(events, { id: 'op', base: 'http://a' }), piece);
  assert.notEqual(piecesOf(events, { id: 'op', base: 'http://b' }), piece);
  assert.equal(piece.events, 3);
  assert.deepEqual(
    read(textOf(piece)).map(({ id, data }) => [id, data]),
    [
      ['op_1', '{"version":1}'],
      ['op_2', '{"version":2}'],
      ['op_3', '{"version":3}'],
    ],
  );
});

test('a piece is a chunk of HTTP/1.1, whatever characters stand in it', () => {
  for (const text of ['x', 'é\u2028🍕'.repeat(1000)]) {
    const { chunk, from } = pieceOf(text, 1);
    const bytes = Buffer.from(text);
    assert.equal(chunk.subarray(0, from).toString(), `${bytes.length.toString(16)}\r\n`);
    assert.ok(chunk.subarray(from, -2).equals(bytes));
    assert.equal(chunk.subarray(-2).toString(), '\r\n');
  }
});

test('an event can stand under an id of the reader', () => {
  const text = eventText(event(4), { id: 'op', base: 'http://a', at: 'elsewhere' });
  assert.deepEqual(read(text), [{ id: 'elsewhere', event: 'running', data: '{"version":4}' }]);
});

for (const [accept, json, stream] of [
  [undefined, false, false],
  ['*/*', false, false],
  ['text/event-stream', false, true],
  ['Text/Event-Stream; q=1, application/json;q=0.1', false, true],
  ['text/event-stream, */*;q=0.1', false, true],
  ['application/json', true, false],
  ['application/json, text/event-stream', false, false],
  ['application/json, text/event-stream;q=0.5', true, false],
  ['text/event-stream;q=0', false, false],
  ['application/*', true, false],
  ['text/html', false, false],
  ['', false, false],
  ['text/event-streams', false, false],
] as const) {
  test(`Accept: ${accept ?? '(absent)'} gets ${json ? 'a page' : 'a stream'} of events, and a submit ${stream ? 'one too' : 'none'}`, () => {
    assert.equal(prefersJson(accept), json);
    assert.equal(asksForStream(accept), stream);
  });
}
