// Frames as messages: one, or an array of several; and what a client refuses to take for either.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeFrames, encodeFrames } from './frames.ts';

test('one frame is written as itself, several as an array', () => {
  assert.equal(encodeFrames([{ type: 'ping', ref: '1' }]), '{"type":"ping","ref":"1"}');
  assert.equal(
    encodeFrames([{ type: 'ping' }, { type: 'cancel', id: 'x' }]),
    '[{"type":"ping"},{"type":"cancel","id":"x"}]',
  );
});

test('both are read, and a type that is not known yet is left to the reader', () => {
  assert.deepEqual(decodeFrames('{"type":"pong"}'), [{ type: 'pong' }]);
  assert.deepEqual(decodeFrames('[{"type":"pong"},{"type":"of-tomorrow","x":1}]'), [
    { type: 'pong' },
    { type: 'of-tomorrow', x: 1 },
  ]);
  assert.deepEqual(decodeFrames('[]'), []);
});

test('what is no frame throws a SyntaxError', () => {
  for (const text of ['', '5', 'null', '[5]', '{}', '[{"type":"pong"},{"type":5}]', '{"type":"pong"'])
    assert.throws(() => decodeFrames(text), SyntaxError, text);
});
