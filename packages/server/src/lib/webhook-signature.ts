// Signs what is sent, as Standard Webhooks has it, also bodies that are read piece by piece.
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { encodeSignatures, signedPrefix, webhookHeaders, webhookKey } from '@waitless/protocol';

export interface Signing {
  /** `whsec_…`, checked before; a signature is made with each. */
  secrets: readonly string[];
  id: string;
  /** By the clock of the wall, which the receiver compares with its own. */
  nowMs: number;
  body: Uint8Array | AsyncIterable<Uint8Array>;
  signal: AbortSignal;
}

/** More than are in use at once on most servers; those that were used last stay. */
const mostKeys = 1000;
const keys = new Map<string, KeyObject>();

/** Made ready once: with the bytes of the key an HMAC takes 50 µs, and with this one 5. */
function keyOf(secret: string): KeyObject {
  const known = keys.get(secret);
  if (known) {
    keys.delete(secret);
    keys.set(secret, known);
    return known;
  }
  const key = createSecretKey(Buffer.from(webhookKey(secret)!, 'base64'));
  keys.set(secret, key);
  const [oldest] = keys.keys();
  if (keys.size > mostKeys) keys.delete(oldest!);
  return key;
}

/** The three fields of a signed request. */
export async function signatureFields({ secrets, id, nowMs, body, signal }: Signing): Promise<[string, string][]> {
  const timestamp = Math.floor(nowMs / 1000);
  const macs = secrets.map((secret) => createHmac('sha256', keyOf(secret)));
  const add = (bytes: string | Uint8Array): void => {
    for (const mac of macs) mac.update(bytes);
  };
  add(signedPrefix({ id, timestamp }));
  if (body instanceof Uint8Array) add(body);
  else
    for await (const chunk of body) {
      signal.throwIfAborted();
      add(chunk);
    }
  return [
    [webhookHeaders.id, id],
    [webhookHeaders.timestamp, String(timestamp)],
    [webhookHeaders.signature, encodeSignatures(macs.map((mac) => mac.digest('base64')))],
  ];
}

/** Whether a field belongs to a signature: beside ours it would be somebody else's. */
export const isSignatureField = (name: string): boolean => /^webhook-/i.test(name);
