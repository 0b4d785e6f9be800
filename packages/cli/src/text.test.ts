// Times a person reads, text that cannot harm a terminal, and lines that survive a shell.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { commandLine, plain, shellWord, span, withoutPasswords } from './text.ts';

test('spans are short and never round into the next unit', () => {
  const cases: [number, string][] = [
    [-5, '0 ms'],
    [10, '10 ms'],
    [999.6, '1.0 s'],
    [9_949, '9.9 s'],
    [9_950, '10 s'],
    [59_600, '1 min'],
    [61_000, '1 min 1 s'],
    [3_599_000, '59 min 59 s'],
    [7_500_000, '2 h 5 min'],
    [86_400_000, '1 d'],
    [100_000_000, '1 d 3 h'],
  ];
  for (const [ms, expected] of cases) assert.equal(span(ms), expected, String(ms));
});

test('control characters of others become spaces', () => {
  assert.equal(plain('a\u001b[31mred\u001b[0m\r\nb\u0000c\u009bd\u2028e'), 'ared b c d e');
  assert.equal(plain('grüße 世界'), 'grüße 世界');
});

test('addresses lose their passwords, and nothing else changes', () => {
  for (const [text, expected] of [
    ['a postgres://u:p@h/d, b', 'a postgres://u:***@h/d, b'],
    ["'amqp://u:p:q@r/#?@h'", "'amqp://u:***@h'"],
    ['x://:p@h and y://u:q@h', 'x://:***@h and y://u:***@h'],
    ['http://127.0.0.1:7878/x and a@b', 'http://127.0.0.1:7878/x and a@b'],
    ['postgres://u@h:5432/d', 'postgres://u@h:5432/d'],
  ] as const)
    assert.equal(withoutPasswords(text), expected);
});

test('a quoted word is the same word after a shell has read it', () => {
  for (const word of ['plain', "it's", '$(false)', '{"a":"b c"}', '', '-x', 'a\nb', '*', 'ü'])
    assert.equal(execFileSync('sh', ['-c', `printf %s ${shellWord(word)}`]).toString(), word);
  assert.equal(commandLine('submit', 'score', '-d', '{}'), "npx waitless submit score -d '{}'");
});
