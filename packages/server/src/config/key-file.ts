// Reads the file of API keys: `name namespace sha256-of-key` per line. The hashes never stand in a message.
import { isName } from '@waitless/protocol';
import { ConfigError } from './config-error.ts';
import { readText } from './config-file.ts';
import type { ApiKey } from './config-shape.ts';

/** SHA-256 of nothing: what hashing an unset variable gives, and then an empty key would open the server. */
const emptyHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/**
 * The keys of a key file's text: three words a line, parted by spaces or tabs; `#` begins a comment line, blank lines are skipped.
 * One name may have several keys (to change a key without a gap), one key only one name. Throws ConfigError with the line's number.
 */
export function parseKeyFile({
  text,
  name,
  label,
}: {
  text: string;
  name: string;
  label?: string | undefined;
}): readonly ApiKey[] {
  const keys: ApiKey[] = [];
  const lineOf = new Map<string, number>();
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\r|\n/)
    .entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const fail = (sentence: string): never => {
      throw new ConfigError('apiKeyFile', sentence, { label, place: `${name} line ${index + 1}` });
    };
    // Not one word of the line stands in a message: whoever mixed the columns up may have put a key anywhere.
    const [keyName = '', namespace = '', hex = '', ...more] = line.split(/[ \t]+/);
    if (hex === '' || more.length > 0)
      fail(
        'a line takes three words: name, namespace and the SHA-256 of the key in hexadecimal, as sha256sum prints it',
      );
    if (!isName(keyName))
      fail('the name (first word) must begin with a letter or digit and go on with letters, digits, "_" and "-"');
    if (!isName(namespace))
      fail('the namespace (second word) must begin with a letter or digit and go on with letters, digits, "_" and "-"');
    const digest = hex.toLowerCase();
    if (!/^[0-9a-f]{64}$/.test(digest))
      fail('the third word must be the SHA-256 of the key in 64 hexadecimal digits, never the key itself');
    if (digest === emptyHash) fail('this is the SHA-256 of an empty key, which everyone knows; hash a real one');
    const earlier = lineOf.get(digest);
    if (earlier !== undefined) fail(`the same key stands on line ${earlier} already; remove one of the two`);
    lineOf.set(digest, index + 1);
    keys.push(Object.freeze({ name: keyName, namespace, hash: new Uint8Array(Buffer.from(digest, 'hex')) }));
  }
  if (keys.length === 0)
    throw new ConfigError('apiKeyFile', `${name} holds no key, so nobody could call the server; add a line`, { label });
  return Object.freeze(keys);
}

/** Reads and parses a key file. */
export function readKeyFile({
  path,
  name,
  label,
}: {
  path: string;
  name: string;
  label?: string | undefined;
}): readonly ApiKey[] {
  return parseKeyFile({ text: readText({ path, name, field: 'apiKeyFile', label }), name, label });
}
