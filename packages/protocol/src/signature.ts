// How Standard Webhooks writes secrets and signatures as text, read and written side by side. The HMAC itself is made by each end with what it has.

export const webhookHeaders = {
  id: 'webhook-id',
  timestamp: 'webhook-timestamp',
  signature: 'webhook-signature',
} as const;

/** How far the time of a signature may be from the receiver's own, either way, so that what was caught once cannot be sent again later. */
export const webhookToleranceSeconds = 300;

const secretPrefix = 'whsec_';
/** What the specification asks of a key. */
const [fewestKeyBytes, mostKeyBytes] = [24, 64];
/** Of SHA-256: 32 bytes in base64. */
const macPattern = /^[A-Za-z0-9+/]{43}=$/;
/** Nobody has as many secrets at once; each costs a comparison. */
const mostSignatures = 16;

/** The key of `whsec_…` in base64, for each end to decode with what it has; undefined for a text that is no secret. */
export function webhookKey(secret: string): string | undefined {
  if (!secret.startsWith(secretPrefix)) return undefined;
  const text = secret.slice(secretPrefix.length);
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?$/.test(text)) return undefined;
  const bytes = (text.length / 4) * 3 - (text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0);
  return bytes >= fewestKeyBytes && bytes <= mostKeyBytes ? text : undefined;
}

/** What is signed before the bytes of the body. `timestamp`: whole seconds since 1970. */
export const signedPrefix = ({ id, timestamp }: { id: string; timestamp: number }): string => `${id}.${timestamp}.`;

/** A dot would let one signature stand for two messages: `a.1` at 2 with `x`, and `a` at 1 with `2.x`. */
export const isWebhookId = (id: string): boolean => /^[A-Za-z0-9_-]{1,256}$/.test(id);

/** Seconds of a timestamp field; undefined for what is none, two fields joined to one included. */
export const decodeTimestamp = (field: string): number | undefined =>
  /^(?:0|[1-9]\d{0,11})$/.test(field) ? Number(field) : undefined;

/** The signature field of these MACs, each in base64: one for every secret in use. */
export const encodeSignatures = (macs: readonly string[]): string => macs.map((mac) => `v1,${mac}`).join(' ');

/** The MACs of version 1 in a signature field; undefined where anything in it is malformed, a MAC cut short included. Other versions are passed over. */
export function decodeSignatures(field: string): string[] | undefined {
  const parts = field.split(' ');
  if (parts.length > mostSignatures) return undefined;
  const macs: string[] = [];
  for (const part of parts) {
    const [, version, value] = /^(v\d{1,3}[a-z]?),([A-Za-z0-9+/=_-]{1,512})$/.exec(part) ?? [];
    if (version === undefined || value === undefined) return undefined;
    if (version !== 'v1') continue;
    if (!macPattern.test(value)) return undefined;
    macs.push(value);
  }
  return macs;
}
