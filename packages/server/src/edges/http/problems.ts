// From an error to its RFC 9457 problem: one place, so that no answer ever carries a stack trace, HTML or a surprise.
import { type ErrorEntry, errorTable, type Problem, WaitlessError } from '@waitless/protocol';
import type { Answer } from './exchange.ts';

/** Pause asked of clients where nothing better is known: shorter and a struggling server is hit again at once. */
const retryAfterSeconds = 1;

export function problemAnswer(error: unknown, { base, requestId }: { base: string; requestId: string }): Answer {
  const known =
    error instanceof WaitlessError
      ? error
      : new WaitlessError('internal-error', "something broke inside Waitless; the server's log has this request id", {
          cause: error,
        });
  const entry = (errorTable as Record<string, ErrorEntry>)[known.code];
  const problem: Problem = {
    type: `${base}/problems/${known.code}`,
    title: entry?.title ?? known.code,
    status: known.status,
    detail: known.message,
    instance: requestId,
    code: known.code,
    ...known.members,
  };
  const headers = ['Content-Type', 'application/problem+json', 'Cache-Control', 'no-store'];
  if (known.retryAfterSeconds !== undefined || known.status === 429 || known.status === 503)
    headers.push('Retry-After', String(known.retryAfterSeconds ?? retryAfterSeconds));
  if (known.status === 401) headers.push('WWW-Authenticate', 'Bearer');
  for (const [name, value] of Object.entries(known.headers ?? {})) headers.push(name, value);
  return { status: known.status, headers, body: JSON.stringify(problem) };
}

/** The same error with header fields that say which operation it is about. */
export function ofOperation(error: unknown, headers: Record<string, string>): unknown {
  if (!(error instanceof WaitlessError)) return error;
  const { code, message, status, retryAfterSeconds, members } = error;
  return new WaitlessError(code, message, {
    status,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    ...(members === undefined ? {} : { members: { ...members } }),
    headers: { ...error.headers, ...headers },
    cause: error,
  });
}
