// Signs what is sent, as Standard Webhooks has it, also bodies that are read piece by piece.
import { createHmac } from 'node:crypto';
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

/** The three fields of a signed request. */
export async function signatureFields({ secrets, id, nowMs, body, signal }: Signing): Promise<[string, string][]> {
  const timestamp = Math.floor(nowMs / 1000);
  const macs = secrets.map((secret) => createHmac('sha256', Buffer.from(webhookKey(secret)!, 'base64')));
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
