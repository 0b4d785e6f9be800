// The key file line by line, and that neither keys nor hashes ever reach a message.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { ConfigError } from './config-error.ts';
import { parseKeyFile } from './key-file.ts';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const parse = (text: string) => parseKeyFile({ text, name: 'ops.keys', label: '--api-key-file' });

describe('key file', () => {
  test('names, namespaces and hashes; comments, blank lines, tabs, CRLF and a byte order mark are fine', () => {
    const text = `\uFEFF# who may call\r\n\r\nops default ${sha256('a')}\r\n  ci\tteam-a   ${sha256('b').toUpperCase()}  \r\nops default ${sha256('c')}`;
    const keys = parse(text);
    assert.deepEqual(
      keys.map(({ name, namespace }) => `${name} ${namespace}`),
      ['ops default', 'ci team-a', 'ops default'],
    );
    assert.deepEqual(Buffer.from(keys[1]!.hash).toString('hex'), sha256('b'));
    assert.ok(Object.isFrozen(keys) && Object.isFrozen(keys[0]));
  });

  const wrong: [title: string, text: string, message: RegExp][] = [
    ['two words', `# one\nops ${sha256('k')}`, /three words: .* \(ops\.keys line 2\)$/],
    ['four words', `ops default ${sha256('k')} x`, /three words.*line 1/],
    ['a bad name', `o/ps default ${sha256('k')}`, /first word.*line 1/],
    ['a bad namespace', `ops def/ault ${sha256('k')}`, /second word.*line 1/],
    ['the key itself', '\n\nops default hunter2hunter2hunter2', /never the key itself \(ops\.keys line 3\)$/],
    ['a short hash', `ops default ${sha256('k').slice(1)}`, /64 hexadecimal digits/],
    ['the hash of nothing', `ops default ${sha256('')}`, /empty key/],
    [
      'one key twice',
      `ops default ${sha256('k')}\nci other ${sha256('k')}`,
      /same key stands on line 1 already.*line 2/,
    ],
    ['no key', '# none yet\n', /^--api-key-file: ops\.keys holds no key/],
  ];
  for (const [title, text, message] of wrong) {
    test(`refused: ${title}`, () => {
      assert.throws(
        () => parse(text),
        (error: unknown) => {
          assert.ok(error instanceof ConfigError);
          assert.equal(error.field, 'apiKeyFile');
          assert.match(error.message, message);
          assert.doesNotMatch(error.message, /hunter2|[0-9a-f]{16}/i);
          return true;
        },
      );
    });
  }
});
