// What goes out as a stream is events and nothing else, whatever stands in them; and who wants a stream is read from Accept.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationEvent } from '../../core/operation-events.ts';
import { asksForStream, eventBytes, frame, prefersJson, streamBody } from './sse.ts';

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
  bytes: 10,
  members: `"version":${version}`,
});

test('an event is put into bytes once for all who know the server under one address', () => {
  const one = event(2);
  const bytes = eventBytes(one, { id: 'op', base: 'http://a' });
  assert.equal(eventBytes(one, { id: 'op', base: 'http://a' }), bytes);
  assert.notEqual(eventBytes(one, { id: 'op', base: 'http://b' }), bytes);
});

test('a stream opens at once, tells batches in one piece, and gives a sign of life where a batch is empty', async () => {
  const batches = (async function* () {
    yield [event(1), event(2)];
    yield [];
    yield [event(3)];
  })();
  const parts: string[] = [];
  for await (const part of streamBody(batches, { id: 'op', base: 'http://a' }))
    parts.push(Buffer.from(part).toString());
  assert.equal(parts.length, 4);
  assert.match(parts[0]!, /^:.*\n\n$/);
  assert.match(parts[2]!, /^:.*\n\n$/);
  assert.deepEqual(
    read(parts.join('')).map(({ id, data }) => [id, data]),
    [
      ['op_1', '{"version":1}'],
      ['op_2', '{"version":2}'],
      ['op_3', '{"version":3}'],
    ],
  );
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
