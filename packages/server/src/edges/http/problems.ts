// From an error to the answer that tells of it, so that none is ever HTML or a hang.
import { WaitlessError } from '@waitless/protocol';
import { type ProblemContext, problemOf } from '../json/problem.ts';
import type { Answer } from './exchange.ts';

export function problemAnswer(thrown: unknown, context: ProblemContext): Answer {
  const { error, problem, retryAfter } = problemOf(thrown, context);
  const headers = ['Content-Type', 'application/problem+json', 'Cache-Control', 'no-store'];
  if (retryAfter !== undefined) headers.push('Retry-After', String(retryAfter));
  if (error.status === 401) headers.push('WWW-Authenticate', 'Bearer');
  for (const [name, value] of Object.entries(error.headers ?? {})) headers.push(name, value);
  return { status: error.status, headers, body: JSON.stringify(problem) };
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
