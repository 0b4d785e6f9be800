// What a caller may give as a body, and the bytes it becomes.
import { WaitlessError } from '@waitless/protocol';

/** Text (sent as UTF-8) and bytes go as they are; a plain object or a list goes as JSON. */
export type RequestBody = string | Uint8Array | ArrayBuffer | object;

export interface BodyBytes {
  bytes: Uint8Array<ArrayBuffer>;
  /** The Content-Type that the conversion stands for, used where the caller gives none. */
  contentType?: string;
}

export function toBytes(body: RequestBody): BodyBytes {
  if (typeof body === 'string') return { bytes: utf8(body) };
  if (body instanceof ArrayBuffer) return { bytes: new Uint8Array(body) };
  if (ArrayBuffer.isView(body))
    return { bytes: new Uint8Array(body.buffer as ArrayBuffer, body.byteOffset, body.byteLength) };
  const prototype: unknown = body === null ? null : Object.getPrototypeOf(body);
  if (Array.isArray(body) || (typeof body === 'object' && (prototype === null || isPlain(prototype))))
    return jsonBytes(body);
  throw new WaitlessError(
    'invalid-parameter',
    'a body is text, bytes, or a plain object or list that becomes JSON; read a stream, Blob or form into bytes first.',
  );
}

export function jsonBytes(value: unknown): BodyBytes {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw new WaitlessError('invalid-parameter', `the body cannot be written as JSON: ${String(error)}`, {
      cause: error,
    });
  }
  if (text === undefined) throw new WaitlessError('invalid-parameter', 'the body cannot be written as JSON.');
  return { bytes: utf8(text), contentType: 'application/json' };
}

/** The bytes of a JSON envelope's body. */
export function envelopeBytes(envelope: { body?: unknown; bodyBase64?: string }): Uint8Array<ArrayBuffer> {
  if (typeof envelope.bodyBase64 === 'string')
    return Uint8Array.from(atob(envelope.bodyBase64), (character) => character.charCodeAt(0));
  if (typeof envelope.body === 'string') return utf8(envelope.body);
  return new Uint8Array(0);
}

/** Base64 in pieces, since a call cannot have a million arguments. */
export function base64(bytes: Uint8Array): string {
  let binary = '';
  for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(binary);
}

export const utf8 = (text: string): Uint8Array<ArrayBuffer> =>
  new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;

/** Also of another realm, such as a frame or a vm, whose Object is another one. */
const isPlain = (prototype: unknown): boolean => Object.getPrototypeOf(prototype) === null;
