// What a read-only token says, in few bytes: it travels in the URLs of a page's requests.
//
// One byte for what it is, six for the time it ends, the namespace with its length, and 24 bytes for each operation: 80 characters for one, 3.4 KB
// for a hundred. The signature around it is that of `Ids`; without it nothing of this is ever read.
import type { OperationKey } from '../engine/engine.ts';

/** Who holds the token may read these operations of the namespace until it expires, and do nothing else. */
export interface ReadGrant {
  namespace: string;
  operations: readonly OperationKey[];
  /** On the store's time line. */
  expiresAt: number;
}

/** Together with the longest namespace below 4 KB, so that the URL stays below what servers and proxies take. */
export const mostReadOperations = 100;
/** Longer lives belong to API keys, which can be revoked. */
export const longestReadMs = 3_600_000;

/** Told apart from what later kinds may say. */
const readOperations = 1;
const headBytes = 8;
const operationBytes = 24;
const nonceBytes = 16;

export function packGrant({ namespace, operations, expiresAt }: ReadGrant): string {
  const name = Buffer.from(namespace, 'latin1');
  const bytes = Buffer.alloc(headBytes + name.length + operations.length * operationBytes);
  bytes.writeUInt8(readOperations, 0);
  bytes.writeUIntBE(expiresAt, 1, 6);
  bytes.writeUInt8(name.length, 7);
  name.copy(bytes, headBytes);
  let at = headBytes + name.length;
  for (const { nonce, seq } of operations) {
    bytes.write(nonce, at, 'hex');
    bytes.writeBigUInt64BE(BigInt(seq), at + nonceBytes);
    at += operationBytes;
  }
  return bytes.toString('base64url');
}

/** Undefined for what says something else. */
export function unpackGrant(text: string): ReadGrant | undefined {
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.length < headBytes || bytes[0] !== readOperations) return undefined;
  const from = headBytes + bytes[7]!;
  if (from > bytes.length || (bytes.length - from) % operationBytes !== 0) return undefined;
  const operations: OperationKey[] = [];
  for (let at = from; at < bytes.length; at += operationBytes)
    operations.push({
      nonce: bytes.toString('hex', at, at + nonceBytes),
      seq: Number(bytes.readBigUInt64BE(at + nonceBytes)),
    });
  return { namespace: bytes.toString('latin1', headBytes, from), operations, expiresAt: bytes.readUIntBE(1, 6) };
}
