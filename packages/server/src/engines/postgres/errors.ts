// What PostgreSQL's errors mean to a caller, by their SQLSTATE. https://www.postgresql.org/docs/current/errcodes-appendix.html
import { WaitlessError } from '@waitless/protocol';

interface DatabaseError {
  code?: string;
  message: string;
}

const retryAfterSeconds = 2;

/** The row itself is what is wrong: it fails alone, its batch is tried without it. A RangeError comes from us: a number that no column holds. */
export const isDataError = (error: unknown): boolean =>
  error instanceof RangeError || /^(22|23|54)/.test((error as DatabaseError).code ?? '');

/** Nothing was written and the same statement may work at once: a deadlock, a serialisation failure, a lock that was not free. */
export const isTransient = (error: unknown): boolean =>
  /^(40001|40P01|55P03)$/.test((error as DatabaseError).code ?? '');

/** The session or the whole server is of no use any more, or was never reached: another connection is needed. */
export const isLoss = (error: unknown): boolean => {
  if (error instanceof RangeError) return false;
  const { code } = error as DatabaseError;
  // An error without a SQLSTATE comes from the socket or from our own time limit.
  return code === undefined || !/^[0-9A-Z]{5}$/.test(code) || /^(08|57P|25006|53300|58|XX)/.test(code);
};

/** @param sent whether the statement may have been carried out all the same */
export function toCallerError(error: unknown, { sent }: { sent: boolean }): WaitlessError {
  if (error instanceof WaitlessError) return error;
  const { code, message } = error as DatabaseError;
  if (isLoss(error) || code === '57014') {
    return new WaitlessError('engine-unavailable', undefined, {
      retryAfterSeconds,
      ...(sent ? {} : { members: { accepted: false } }),
      cause: error,
    });
  }
  const members = { accepted: false };
  if (code === '53100') return new WaitlessError('insufficient-storage', undefined, { retryAfterSeconds: 5, members });
  if (isDataError(error))
    return new WaitlessError('invalid-parameter', `the database cannot keep this request: ${message}`, {
      cause: error,
    });
  return new WaitlessError('storage-unavailable', `the database refused: ${message}`, {
    retryAfterSeconds: 5,
    members,
    cause: error,
  });
}

/** Nothing was sent. */
export const notReached = (cause?: unknown): WaitlessError =>
  new WaitlessError('engine-unavailable', undefined, { retryAfterSeconds, members: { accepted: false }, cause });

/** It may have been carried out. */
export const notAnswered = (): WaitlessError =>
  new WaitlessError('engine-unavailable', undefined, { retryAfterSeconds });
