// What a worker's handler gets, and what it may give back.
import type { FailEnvelope, HeaderPairs, Lease, OperationProgress } from '@waitless/protocol';
import { WaitlessError } from '@waitless/protocol';
import { base64, envelopeBytes, jsonBytes, toBytes } from './body.ts';
import { type HeaderFields, headersOf } from './header-fields.ts';

/** One attempt at one operation. */
export interface Job {
  /** The operation's id: the same on every attempt, so that a repeat can be told from new work. */
  readonly id: string;
  readonly correlationId: string;
  readonly service: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: string;
  /** From 1. */
  readonly attempt: number;
  readonly lastAttempt: boolean;
  /** When the operation's total time ends (RFC 3339), or null. */
  readonly deadline: string | null;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Headers;
  /** The body, byte for byte. */
  readonly body: Uint8Array<ArrayBuffer>;
  readonly text: () => string;
  readonly json: <T = unknown>() => T;
  /** Aborts when the work is not wanted from this worker any more: `cancelled`, `lease-lost`, or the worker's stop. */
  readonly signal: AbortSignal;
  /** Shows progress in the operation's status. A server that cannot be reached is no reason to stop; throws when the lease is lost. */
  readonly progress: (report: Omit<OperationProgress, 'sequence'>) => Promise<void>;
}

/** An answer in full; `status` is 200 by default. Give `body` or `json`, not both. */
export interface Reply {
  status?: number;
  headers?: HeaderFields;
  body?: string | Uint8Array | ArrayBuffer;
  /** Becomes the body, with `Content-Type: application/json` where no other is given. */
  json?: unknown;
}

/** Resolves with the answer: text or bytes for a 200, or a Reply. Throws to fail the attempt, for good with `retry: false` on the error. */
export type Handler = (
  job: Job,
) => Promise<Reply | string | Uint8Array | undefined | void> | Reply | string | Uint8Array | undefined | void;

/** What is to be told about one lease. */
export type Verdict =
  | { kind: 'reply'; status: number; headers: HeaderPairs; body: Uint8Array<ArrayBuffer> }
  | { kind: 'fail'; fail: FailEnvelope }
  | { kind: 'release' };

export function jobOf(lease: Lease, { signal, progress }: Pick<Job, 'signal' | 'progress'>): Job {
  const { operation, request, attempt, lastAttempt, deadline } = lease;
  const body = envelopeBytes(request);
  const text = (): string => new TextDecoder().decode(body);
  const headers = new Headers();
  for (const [name, value] of request.headers) headers.append(name, value);
  const { method, path, query } = request;
  return {
    ...operation,
    attempt,
    lastAttempt,
    deadline,
    method,
    path,
    query,
    headers,
    body,
    text,
    json: <T>() => JSON.parse(text()) as T,
    signal,
    progress,
  };
}

const replyMembers: ReadonlySet<string> = new Set(['status', 'headers', 'body', 'json']);

/** Reads what a handler gave back. Throws with `retry: false` where that is no answer: the next attempt would give the same. */
export function verdictOf(answer: Awaited<ReturnType<Handler>>): Verdict {
  const reply: Reply =
    answer === undefined ? {} : typeof answer === 'string' || ArrayBuffer.isView(answer) ? { body: answer } : answer;
  const wrong = (why: string): Error =>
    new WaitlessError('invalid-parameter', `the handler's answer ${why}`, { status: 500 });
  if (typeof reply !== 'object' || reply === null) throw wrong(`is ${String(reply)}; give text, bytes or a Reply.`);
  const unknown = Object.keys(reply).find((name) => !replyMembers.has(name));
  if (unknown !== undefined) throw wrong(`has a field "${unknown}"; to answer with JSON return { json: value }.`);
  if (reply.body !== undefined && reply.json !== undefined) throw wrong('has both body and json.');
  const { status = 200 } = reply;
  if (!Number.isInteger(status) || status < 200 || status > 599 || status === 202)
    throw wrong(`has the status ${status}; it must be from 200 to 599 and not 202, which promises a later answer.`);
  const { bytes, contentType } =
    reply.json !== undefined ? jsonBytes(reply.json) : toBytes(reply.body ?? new Uint8Array(0));
  const headers = headersOf(reply.headers);
  if (contentType !== undefined && !headers.has('content-type')) headers.set('Content-Type', contentType);
  return { kind: 'reply', status, headers: [...headers], body: bytes };
}

/** What to say of an attempt whose handler threw. */
export function failureOf(error: unknown): Verdict {
  const told = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  const { code, retry, retryAfterSeconds } = told;
  const known = typeof code === 'string' && code.length >= 1 && code.length <= 128;
  const message =
    typeof told['message'] === 'string'
      ? told['message']
      : typeof error === 'string'
        ? error
        : 'the handler threw something that is no error';
  return {
    kind: 'fail',
    fail: {
      code: known ? code : 'handler-failed',
      message: message.slice(0, 2000),
      retry: retry !== false,
      ...(typeof retryAfterSeconds === 'number' && retryAfterSeconds >= 0 ? { retryAfter: retryAfterSeconds } : {}),
    },
  };
}

/** The verdict as an item of `settle`; base64 holds any bytes. */
export function settlementOf(token: string, verdict: Verdict) {
  if (verdict.kind === 'release') return { token, release: true as const };
  if (verdict.kind === 'fail') return { token, fail: verdict.fail };
  const { status, headers, body } = verdict;
  return { token, reply: { status, headers, bodyBase64: base64(body) } };
}
