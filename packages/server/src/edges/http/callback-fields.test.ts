// The Callback-… fields of a submit, right and wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callbackOf } from './callback-fields.ts';

const read = (fields: Readonly<Record<string, string>>) =>
  callbackOf((name) => fields[name], { correlationId: 'c-1', base: 'http://here' });

test('none, and each way of asking', () => {
  assert.equal(read({}), null);
  const url = 'https://example.com/done?a=1';
  const plain = {
    url,
    outlet: 'https://example.com/done',
    correlationId: 'c-1',
    progress: false,
    thin: false,
    base: 'http://here',
  };
  assert.deepEqual(read({ 'callback-url': url }), plain);
  assert.deepEqual(read({ 'callback-url': url, 'callback-body': 'full' }), plain);
  assert.deepEqual(read({ 'callback-url': url, 'callback-body': ' thin' }), { ...plain, thin: true });
  assert.deepEqual(read({ 'callback-url': url, 'callback-events': 'progress ' }), { ...plain, progress: true });
});

test('words that are not known, and words without a URL, are refused with what they take', () => {
  const url = { 'callback-url': 'https://example.com/' };
  for (const [fields, expected] of [
    [{ ...url, 'callback-events': 'all' }, /^Callback-Events takes progress, not "all"/],
    [{ ...url, 'callback-events': '' }, /^Callback-Events takes progress, not ""/],
    [{ ...url, 'callback-events': 'progress, progress' }, /^Callback-Events takes progress/],
    [{ ...url, 'callback-events': 'Progress' }, /^Callback-Events takes progress/],
    [{ ...url, 'callback-body': 'none' }, /^Callback-Body takes full or thin, not "none"/],
    [{ 'callback-events': 'progress' }, /^Callback-Events says what a Callback-Url is told, and there is none/],
    [{ 'callback-body': 'thin' }, /^Callback-Body says what a Callback-Url is told, and there is none/],
  ] as const)
    assert.throws(() => read(fields), { code: 'invalid-parameter', message: expected, members: { accepted: false } });
});
