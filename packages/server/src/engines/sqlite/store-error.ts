// Errors on their way from the store's thread to those who asked: structured clone keeps neither the code nor the class of an Error.
import { WaitlessError } from '@waitless/protocol';

export interface StoreError {
  /** Of SQLite, or of the problem table where `problem` is true. */
  code: string;
  problem: boolean;
  message: string;
}

export const codeOf = (error: unknown): string => {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : '';
};

export const toStoreError = (error: unknown): StoreError => ({
  code: codeOf(error),
  problem: error instanceof WaitlessError,
  message: (error as Error).message,
});

/** After a failed sync nothing may be acknowledged any more (the kernel may have dropped the pages); a full disk or a bad row is survived. */
export const isFatal = (error: unknown): boolean => /^SQLITE_(IOERR|CORRUPT|NOTADB|READONLY)/.test(codeOf(error));

/** Ends up as 507: refused before anything is written, while answers of running work still find room. */
export const diskFull = {
  kind: 'refused',
  error: { code: 'SQLITE_FULL', problem: false, message: 'the disk is full' },
} as const satisfies { kind: 'refused'; error: StoreError };

/** What the store's errors mean to a caller. */
export function toCallerError({ code, problem, message }: StoreError): WaitlessError {
  if (problem) return new WaitlessError(code, message, { retryAfterSeconds: 5 });
  if (code === 'SQLITE_FULL')
    return new WaitlessError('insufficient-storage', undefined, { retryAfterSeconds: 5, members: { accepted: false } });
  return new WaitlessError('storage-unavailable', `the store failed: ${message}`, { retryAfterSeconds: 5 });
}
