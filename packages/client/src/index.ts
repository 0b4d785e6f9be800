// What users of the SDK see.
export { createClient, type ClientOptions, type WaitlessClient } from './client.ts';
export type { Query } from './address.ts';
export type { ListFilters, OperationOptions, OperationSnapshot } from './operations.ts';
export type { ClientResponse, ResultOutcome } from './result.ts';
export type { SubmitOptions, SubmitOutcome } from './submit.ts';
export type { WatchOptions } from './watch.ts';
export { WaitlessError } from '@waitless/protocol';
export type {
  Durability,
  Operation,
  OperationError,
  OperationProgress,
  OperationReceipt,
  OperationStatus,
  Page,
  ServiceSummary,
  TimelineEntry,
} from '@waitless/protocol';
