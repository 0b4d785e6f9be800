// What a read-only token says, in few bytes: it travels in the URLs of a page's requests.
//
// One byte for what it is, six for the time it ends, the namespace with its length, the topics with theirs where there are any, and 24 bytes for each
// operation: 80 characters for one, 3.4 KB for a hundred. The signature around it is that of `Ids`; without it nothing of this is ever read.
import type { OperationKey } from '../engine/engine.ts';

/** Who holds the token may read these operations and topics of the namespace until it expires, and do nothing else. */
export interface ReadGrant {
  namespace: string;
  operations: readonly OperationKey[];
  /** Names and patterns. */
  topics: readonly string[];
  /** On the store's time line. */
  expiresAt: number;
}

/** Together with the longest namespace below 4 KB, so that the URL stays below what servers and proxies take. */
export const mostReadOperations = 100;
/** What topics take of that, each with a byte between them; with them fewer operations find room. */
export const mostTopicBytes = 1024;
/** Longer lives belong to API keys, which can be revoked. */
export const longestReadMs = 3_600_000;

/** Told apart from what later kinds may say. */
const readOperations = 1;
const readTopics = 2;
const lengthBytes = 2;
const separator = ',';
const headBytes = 8;
const operationBytes = 24;
const nonceBytes = 16;

/** Whether a grant is small enough for a token. */
export const fitsToken = ({ operations, topics }: Pick<ReadGrant, 'operations' | 'topics'>): boolean => {
  const topicBytes = topics.join(separator).length;
  return (
    topicBytes <= mostTopicBytes &&
    operations.length * operationBytes + topicBytes <= mostReadOperations * operationBytes
  );
};

export function packGrant({ namespace, operations, topics, expiresAt }: ReadGrant): string {
  const name = Buffer.from(namespace, 'latin1');
  const named = Buffer.from(topics.join(separator), 'latin1');
  const topicBytes = topics.length === 0 ? 0 : lengthBytes + named.length;
  const bytes = Buffer.alloc(headBytes + name.length + topicBytes + operations.length * operationBytes);
  bytes.writeUInt8(topics.length === 0 ? readOperations : readTopics, 0);
  bytes.writeUIntBE(expiresAt, 1, 6);
  bytes.writeUInt8(name.length, 7);
  name.copy(bytes, headBytes);
  let at = headBytes + name.length;
  if (topics.length > 0) {
    bytes.writeUInt16BE(named.length, at);
    named.copy(bytes, at + lengthBytes);
    at += topicBytes;
  }
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
  const kind = bytes[0];
  if (bytes.length < headBytes || (kind !== readOperations && kind !== readTopics)) return undefined;
  const nameEnd = headBytes + bytes[7]!;
  if (kind === readTopics && bytes.length < nameEnd + lengthBytes) return undefined;
  const topicsFrom = nameEnd + lengthBytes;
  const from = kind === readTopics ? topicsFrom + bytes.readUInt16BE(nameEnd) : nameEnd;
  if (from > bytes.length || (bytes.length - from) % operationBytes !== 0) return undefined;
  const operations: OperationKey[] = [];
  for (let at = from; at < bytes.length; at += operationBytes)
    operations.push({
      nonce: bytes.toString('hex', at, at + nonceBytes),
      seq: Number(bytes.readBigUInt64BE(at + nonceBytes)),
    });
  return {
    namespace: bytes.toString('latin1', headBytes, nameEnd),
    operations,
    topics: kind === readTopics ? bytes.toString('latin1', topicsFrom, from).split(separator) : [],
    expiresAt: bytes.readUIntBE(1, 6),
  };
}
