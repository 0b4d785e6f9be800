// Finds whose API key a request carries, in the same time whether the key is almost right or not at all.
import { hash, timingSafeEqual } from 'node:crypto';
import type { ApiKey, KeyOwner } from './config-shape.ts';

/** Whose key it is, or undefined when nobody's. */
export type KeyLookup = (key: string) => KeyOwner | undefined;

/** Longer "keys" are not hashed: a header block holds 16 KB, and hashing them all would be work that strangers can order. */
const longestKey = 512;

const prefixOf = (digest: Uint8Array): number =>
  new DataView(digest.buffer, digest.byteOffset, digest.byteLength).getUint32(0);

/**
 * A look-up among the keys of the key file. Compares SHA-256 digests, found by their first four bytes and then compared whole
 * in constant time: what the first step's timing may tell about a digest says nothing about a key that would have it.
 */
export function createKeyLookup(keys: readonly ApiKey[]): KeyLookup {
  const byPrefix = new Map<number, ApiKey[]>();
  for (const key of keys) {
    if (key.hash.byteLength !== 32) throw new TypeError(`the hash of key ${key.name} is not 32 bytes long`);
    const prefix = prefixOf(key.hash);
    byPrefix.set(prefix, [...(byPrefix.get(prefix) ?? []), key]);
  }
  return (key) => {
    if (key === '' || key.length > longestKey) return undefined;
    const digest = hash('sha256', key, 'buffer');
    const found = byPrefix.get(prefixOf(digest))?.find((candidate) => timingSafeEqual(candidate.hash, digest));
    return found === undefined ? undefined : { name: found.name, namespace: found.namespace };
  };
}

/** The key in an `Authorization: Bearer KEY` field (RFC 6750 2.1), or undefined for another scheme or a malformed one. */
export function bearerKey(authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i.exec(authorization)?.[1];
}
