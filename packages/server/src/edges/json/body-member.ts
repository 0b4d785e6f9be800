// A body inside a JSON envelope: text where it is UTF-8, base64 otherwise.
import { isUtf8 } from 'node:buffer';

/** `"body":"text"` where the bytes are UTF-8, else `"bodyBase64":"…"`. */
export function bodyMember(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(buffer)
    ? `"body":${JSON.stringify(buffer.toString('utf8'))}`
    : `"bodyBase64":"${buffer.toString('base64')}"`;
}
