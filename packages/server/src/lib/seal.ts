// Seals small secrets for the store, with AES-256-GCM under a key that lies elsewhere, each bound to what it is about.
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';

export interface SealingKey {
  /** 32 bytes. */
  readonly bytes: Uint8Array;
  /** Tells keys apart and says nothing about their bytes: a seal of another key is known without trying. */
  readonly id: string;
}

export const sealingKeyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const version = 'v1.';

/** Throws for what is no key of 256 bits. */
export function sealingKey(bytes: Uint8Array): SealingKey {
  if (bytes.length !== sealingKeyBytes) throw new RangeError(`a key has ${sealingKeyBytes} bytes`);
  const id = createHmac('sha256', bytes).update('waitless: which sealing key').digest('hex').slice(0, 16);
  return Object.freeze({ bytes: Uint8Array.from(bytes), id });
}

/** What the seal is about, so that no two lists of words give the same bytes. */
const additional = (about: readonly string[]): Buffer => Buffer.from(JSON.stringify(about));

/** A sealed text that only the same key opens, and only for the same `about`. The nonce is random: 2^32 seals of one key are far more than there will be. */
export function seal({
  key,
  content,
  about,
}: {
  key: SealingKey;
  content: Uint8Array;
  about: readonly string[];
}): string {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key.bytes, nonce, { authTagLength: tagBytes });
  cipher.setAAD(additional(about));
  const sealed = Buffer.concat([nonce, cipher.update(content), cipher.final(), cipher.getAuthTag()]);
  return version + sealed.toString('base64url');
}

/** The content, or undefined: another key, about something else, changed, or cut short. Which of them it is cannot be known. */
export function unseal({
  key,
  sealed,
  about,
}: {
  key: SealingKey;
  sealed: string;
  about: readonly string[];
}): Uint8Array | undefined {
  if (!sealed.startsWith(version)) return undefined;
  const text = sealed.slice(version.length);
  const bytes = Buffer.from(text, 'base64url');
  // Base64 has several spellings of the same bytes; only ours is one of ours.
  if (bytes.length < nonceBytes + tagBytes || bytes.toString('base64url') !== text) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key.bytes, bytes.subarray(0, nonceBytes), {
    authTagLength: tagBytes,
  });
  decipher.setAAD(additional(about));
  decipher.setAuthTag(bytes.subarray(-tagBytes));
  try {
    return Uint8Array.from(Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()]));
  } catch {
    return undefined;
  }
}
