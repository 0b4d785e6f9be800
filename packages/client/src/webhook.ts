// Requests signed as Standard Webhooks has it: whoever receives them checks that they come from who knows the secret, are whole, and are not old.
import {
  decodeSignatures,
  decodeTimestamp,
  encodeSignatures,
  isWebhookId,
  signedPrefix,
  WaitlessError,
  webhookHeaders,
  webhookKey,
  webhookToleranceSeconds,
} from '@waitless/protocol';
import { base64, utf8 } from './body.ts';

/** `Headers` of fetch, `headers` or `headersDistinct` of Node's requests, or pairs. */
export type ReceivedHeaders =
  | Iterable<readonly [string, string]>
  | Readonly<Record<string, string | readonly string[] | undefined>>;

/** The bytes exactly as they came, or their text: parsed and written again they would be others. */
export type ReceivedBody = Uint8Array | ArrayBuffer | string;

export interface WebhookCheck {
  headers: ReceivedHeaders;
  body: ReceivedBody;
  /** `whsec_…`; while one is replaced by another, both. */
  secrets: string | readonly string[];
  /** How far its time may be from now, either way. 300 by default. */
  toleranceSeconds?: number | undefined;
  /** Milliseconds since 1970; by default the clock of this machine. */
  now?: number | undefined;
}

export interface VerifiedWebhook {
  /** The same for every attempt at the same thing: what to remember it by. */
  id: string;
  /** When it was signed. */
  sentAt: Date;
}

/** Whoever sent this is not to be believed, or it is too late: answer 401. The message says what is wrong; it is for a log and not for the sender. */
export class WebhookRefused extends WaitlessError {
  readonly reason: 'missing' | 'malformed' | 'out-of-time' | 'no-match';
  override readonly retry = false;

  constructor(reason: WebhookRefused['reason'], message: string) {
    super('webhook-refused', message, { status: 401 });
    this.reason = reason;
  }
}

/** Resolves for a request that was signed with one of the secrets, and rejects with WebhookRefused for any other. */
export async function verifyWebhook(check: WebhookCheck): Promise<VerifiedWebhook> {
  const { headers, toleranceSeconds = webhookToleranceSeconds, now = Date.now() } = check;
  const keys = keysOf(check.secrets);
  const body = bytesOf(check.body);
  if (!(toleranceSeconds >= 0 && toleranceSeconds < Infinity) || !Number.isFinite(now))
    throw new TypeError('toleranceSeconds and now take numbers');
  const id = oneField(headers, webhookHeaders.id);
  const timestamp = decodeTimestamp(oneField(headers, webhookHeaders.timestamp));
  const macs = decodeSignatures(oneField(headers, webhookHeaders.signature));
  if (!isWebhookId(id)) throw malformed(webhookHeaders.id);
  if (timestamp === undefined) throw malformed(webhookHeaders.timestamp);
  if (macs === undefined) throw malformed(webhookHeaders.signature);
  const apart = now / 1000 - timestamp;
  if (!(Math.abs(apart) <= toleranceSeconds))
    throw new WebhookRefused(
      'out-of-time',
      `signed ${Math.abs(Math.round(apart))} s ${apart > 0 ? 'ago' : 'ahead of the clock here'}, and ${toleranceSeconds} s are allowed`,
    );
  const expected = await Promise.all(keys.map((key) => macOf(key, { id, timestamp, body })));
  // Every pair is compared, so that the time tells nothing about which of them agree.
  let matches = 0;
  for (const one of expected) for (const mac of macs) matches += sameText(one, mac);
  if (matches === 0) throw new WebhookRefused('no-match', 'no signature fits: another secret, or other bytes');
  return { id, sentAt: new Date(timestamp * 1000) };
}

/** The three fields of a signed request: for tests of a receiver, or for sending one's own. */
export async function signWebhook({
  id,
  body,
  secrets,
  now = Date.now(),
}: Pick<WebhookCheck, 'body' | 'secrets' | 'now'> & { id: string }): Promise<Record<string, string>> {
  if (!isWebhookId(id)) throw new TypeError('the id of a webhook takes letters, digits, "_" and "-"');
  const signed = { id, timestamp: Math.floor(now / 1000), body: bytesOf(body) };
  const macs = await Promise.all(keysOf(secrets).map((key) => macOf(key, signed)));
  return {
    [webhookHeaders.id]: id,
    [webhookHeaders.timestamp]: String(signed.timestamp),
    [webhookHeaders.signature]: encodeSignatures(macs),
  };
}

type Bytes = Uint8Array<ArrayBuffer>;

async function macOf(key: Bytes, message: { id: string; timestamp: number; body: Bytes }): Promise<string> {
  const prefix = utf8(signedPrefix(message));
  const signed = new Uint8Array(prefix.length + message.body.length);
  signed.set(prefix);
  signed.set(message.body, prefix.length);
  const hmac = { name: 'HMAC', hash: 'SHA-256' };
  const imported = await crypto.subtle.importKey('raw', key, hmac, false, ['sign']);
  return base64(new Uint8Array(await crypto.subtle.sign(hmac.name, imported, signed)));
}

/** 1 for equal texts, without leaving early. Lengths are no secret, and are compared first. */
function sameText(a: string, b: string): 0 | 1 {
  if (a.length !== b.length) return 0;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0 ? 1 : 0;
}

/** A secret that is none is the receiver's own mistake, and never stands in the message. */
function keysOf(secrets: string | readonly string[]): Bytes[] {
  const list = typeof secrets === 'string' ? [secrets] : secrets;
  if (list.length === 0) throw new TypeError('no secret is given; without one nothing can be checked');
  return list.map((secret) => {
    const key = webhookKey(secret);
    if (key === undefined) throw new TypeError('a secret is "whsec_" and 24 to 64 bytes in base64');
    return Uint8Array.from(atob(key), (character) => character.charCodeAt(0));
  });
}

function bytesOf(body: ReceivedBody): Bytes {
  if (typeof body === 'string') return utf8(body);
  // By their tags: those of another realm are no instances of ours.
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer as ArrayBuffer, body.byteOffset, body.byteLength);
  if (Object.prototype.toString.call(body) === '[object ArrayBuffer]') return new Uint8Array(body);
  throw new TypeError('a body is checked as the bytes or the text that came, before anything has parsed it');
}

function oneField(headers: ReceivedHeaders, wanted: string): string {
  const pairs: Iterable<readonly [string, unknown]> =
    Symbol.iterator in headers
      ? (headers as Iterable<readonly [string, string]>)
      : Object.entries(headers as Readonly<Record<string, unknown>>);
  const values: unknown[] = [];
  for (const [name, value] of pairs)
    if (name.toLowerCase() === wanted && value !== undefined) values.push(...(Array.isArray(value) ? value : [value]));
  const [value] = values;
  if (value === undefined) throw new WebhookRefused('missing', `there is no ${wanted}`);
  if (values.length > 1 || typeof value !== 'string')
    throw new WebhookRefused('malformed', `${wanted} stands there more than once`);
  return value;
}

const malformed = (name: string): WebhookRefused => new WebhookRefused('malformed', `${name} is malformed`);
