// The error of an operation that ended without success, with everything there is to know about it.
import { type ErrorCode, WaitlessError } from '@waitless/protocol';
import type { ClientResponse } from './response.ts';

/** Codes of problems that tell how an operation ended; every other problem is about the request that got it. */
const endCodes: ReadonlySet<string> = new Set<ErrorCode>([
  'attempts-exhausted',
  'bad-backend-response',
  'cancelled',
  'failed-by-worker',
  'not-started-in-time',
  'timed-out',
]);

/** The operation has ended as `failed` or `cancelled`; `code` is that of its status document. */
export class OperationFailed extends WaitlessError {
  readonly operationId: string;
  /** The backend's own answer, where there was one: its status, headers and bytes. */
  readonly result: ClientResponse | undefined;
  /** The operation has ended: repeating the same look gives the same failure. */
  override readonly retry = false;

  constructor(
    code: string,
    message: string | undefined,
    more: ConstructorParameters<typeof WaitlessError>[2] & { operationId: string; result?: ClientResponse },
  ) {
    super(code, message, more);
    this.operationId = more.operationId;
    this.result = more.result;
  }
}

/** Turns a problem that says how the operation ended into OperationFailed; leaves every other error as it is. */
export function asFailed(error: unknown, id: string | undefined): unknown {
  if (!(error instanceof WaitlessError) || error instanceof OperationFailed || !endCodes.has(error.code)) return error;
  const operationId = id ?? error.headers?.['operation-id'] ?? '';
  return new OperationFailed(error.code, error.message, {
    status: error.status,
    operationId,
    cause: error,
    ...(error.members ? { members: { ...error.members } } : {}),
    ...(error.headers ? { headers: { ...error.headers } } : {}),
  });
}
