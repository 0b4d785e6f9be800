// What workers answer leases with, inside a JSON envelope: read one way wherever it comes from.
import { hash } from 'node:crypto';
import type { Answer as AttemptAnswer } from '../../core/lifecycle.ts';
import type { ProgressReport, ResultContent } from '../../engine/engine.ts';
import { fieldError, Shape } from './shape.ts';

const longestLeaseSeconds = 86_400;
const mostProgressDataBytes = 16 * 1024;

/** Milliseconds of the member `leaseSeconds`. */
export function leaseMsIn(shape: Shape): number | undefined {
  const seconds = shape.number('leaseSeconds', { above: 0, most: longestLeaseSeconds });
  return seconds === undefined ? undefined : Math.ceil(seconds * 1000);
}

export const content = (status: number, headers: string[], body: Uint8Array): ResultContent => ({
  status,
  headers,
  body,
  hash: hash('sha256', body, 'base64url'),
});

/** Members of a reply, beside those of its envelope. */
export const replyFields = ['status', 'headers', 'body', 'bodyBase64'] as const;
export const failFields = ['code', 'message', 'retry', 'retryAfter'] as const;
export const progressFields = ['stage', 'percent', 'message', 'data'] as const;

/** @param body the bytes of the member `body`, where it is there: those of a string, or the source text of any other value */
export function readReply(
  reply: Shape,
  { at, body, mostBytes }: { at: string; body: Uint8Array | undefined; mostBytes: number },
): AttemptAnswer {
  const status = reply.number('status', { least: 200, most: 599, whole: true }) ?? 200;
  if (status === 202)
    throw fieldError(
      'invalid-parameter',
      `${at}/status`,
      'must not be 202: this reply is the answer that was promised for later',
    );
  const headers = readHeaders(reply.any('headers'), `${at}/headers`);
  return { kind: 'response', response: content(status, headers, readBody(reply, { at, body, mostBytes })) };
}

function readBody(
  shape: Shape,
  { at, body, mostBytes }: { at: string; body: Uint8Array | undefined; mostBytes: number },
): Uint8Array {
  if (body !== undefined && shape.has('bodyBase64'))
    throw fieldError('invalid-parameter', at, 'must not have both body and bodyBase64');
  if (!shape.has('bodyBase64')) return body ?? new Uint8Array(0);
  const base64 = shape.needText('bodyBase64', { most: mostBytes });
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64) || base64.length % 4 !== 0)
    throw fieldError('invalid-parameter', `${at}/bodyBase64`, 'is not base64');
  return Buffer.from(base64, 'base64');
}

const fieldName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;
// oxlint-disable-next-line no-control-regex -- RFC 9110 5.5: what a field value may hold
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;

function readHeaders(value: unknown, at: string): string[] {
  if (value === undefined) return [];
  const pairs: unknown[] = Array.isArray(value)
    ? value
    : typeof value === 'object' && value !== null
      ? Object.entries(value)
      : [null];
  if (pairs.length > 100) throw fieldError('invalid-parameter', at, 'must not have more than 100 fields');
  return pairs.flatMap((pair) => {
    const [name, text] = Array.isArray(pair) && pair.length === 2 ? (pair as unknown[]) : [];
    if (typeof name !== 'string' || typeof text !== 'string' || !fieldName.test(name) || !fieldValue.test(text))
      throw fieldError('invalid-parameter', at, 'must be an object of header fields or a list of [name, value] pairs');
    return /^(content-length|transfer-encoding|connection)$/i.test(name) ? [] : [name, text];
  });
}

/** @param shape of the fields of a failure, and of its envelope */
export function readFail(shape: Shape): AttemptAnswer {
  const retryAfterMs = shape.pauseMs('retryAfter');
  return {
    kind: 'failure',
    code: shape.needText('code', { least: 1, most: 128 }),
    message: shape.needText('message'),
    retry: shape.boolean('retry') ?? true,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

/** @param data source text of the member `data` */
export function readProgress(shape: Shape, data: string | undefined): ProgressReport {
  if (data !== undefined && Buffer.byteLength(data) > mostProgressDataBytes)
    throw fieldError('payload-too-large', '/data', `must not be larger than ${mostProgressDataBytes} bytes`);
  const stage = shape.text('stage', { most: 128 });
  const percent = shape.number('percent', { least: 0, most: 100 });
  const message = shape.text('message');
  return {
    ...(stage === undefined ? {} : { stage }),
    ...(percent === undefined ? {} : { percent }),
    ...(message === undefined ? {} : { message }),
    ...(data === undefined ? {} : { data }),
  };
}
