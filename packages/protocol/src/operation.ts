// The shapes of an operation as clients see it: the status document, lists and the timeline.

/** Known pollers end on `succeeded`, `failed` and `cancelled` only, so a missed deadline is `failed` with a code. */
export const operationStatuses = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export type OperationStatus = (typeof operationStatuses)[number];

/** What an answer promises: on disk before the 202, in the same group commit but answered before it, or nothing. */
export const durabilities = ['stored', 'memory', 'none'] as const;
export type Durability = (typeof durabilities)[number];

/** The part of the status document that never changes; the body of the 202. */
export interface OperationReceipt {
  id: string;
  service: string;
  correlationId: string;
  /** Business key, where the service has a key rule. */
  key: string | null;
  labels: Record<string, string>;
  /** RFC 3339. */
  createdAt: string;
  /** URL of the result. */
  resourceLocation: string;
  links: { self: string; result: string; timeline: string; deliveries: string };
}

export interface OperationProgress {
  /** Grows by one with each report. */
  sequence: number;
  stage?: string;
  /** 0 to 100. */
  percent?: number;
  message?: string;
  data?: unknown;
}

export interface OperationError {
  code: string;
  message: string;
  /** URL under /problems/, where the code is one of ours. */
  type?: string;
  detail?: string;
}

/** The status document: GET /v1/operations/{id}. Times are RFC 3339 or null. */
export interface Operation extends OperationReceipt {
  status: OperationStatus;
  done: boolean;
  /** Rises with every change, progress included. */
  version: number;
  /** `{id}_{version}`: the same on every outlet. */
  eventId: string;
  startedAt: string | null;
  updatedAt: string;
  finishedAt: string | null;
  /** Attempts begun so far. */
  attempt: number;
  maxAttempts: number;
  /** When a queued operation may start: a delay or the pause before a retry. */
  runAt: string | null;
  /** When the total time allowed ends. */
  deadline: string | null;
  progress: OperationProgress | null;
  queuePosition: number | null;
  estimatedCompletionAt: string | null;
  /** When an ended operation is forgotten. */
  expiresAt: string | null;
  error: OperationError | null;
  /** With `?include=result`: the result, or null where there is none of at most 64 KB. */
  result?: IncludedResult | null;
}

/** A result within a document. `body` is JSON as it came, or text; `bodyBase64` anything else. */
export interface IncludedResult {
  status: number;
  headers: [name: string, value: string][];
  body?: unknown;
  bodyBase64?: string;
}

export interface Page<T> {
  items: T[];
  /** Opaque cursor of the next page, or null at the end. */
  next: string | null;
}

/** One thing that happened to an operation, oldest first in GET /v1/operations/{id}/timeline. */
export interface TimelineEntry {
  type: 'accepted' | 'attempt' | 'progress' | 'finished' | 'delivery';
  at: string;
  /** delivery: its id; `at` is when what it tells happened, `attempt` how often it was tried. */
  delivery?: string;
  attempt?: number;
  /** When the attempt ended; null while it runs. */
  endedAt?: string | null;
  worker?: string | null;
  outcome?: string | null;
  /** The backend's status where it answered. */
  backendStatus?: number | null;
  detail?: string | null;
  /** When the next attempt may start. */
  nextAt?: string | null;
  progress?: OperationProgress;
  status?: OperationStatus;
}

/** What an event of an operation tells, after `waitless.operation.`: a state that it came to, or progress. */
export const operationEventKinds = ['queued', 'running', 'progress', 'succeeded', 'failed', 'cancelled'] as const;
export type OperationEventKind = (typeof operationEventKinds)[number];

/**
 * One change of an operation: GET /v1/operations/{id}/events, and the same under the same id wherever else it is told. Beside what every event has
 * stand the members of the status document that changed, as they were then.
 */
export interface OperationEvent extends Pick<
  Operation,
  'eventId' | 'id' | 'service' | 'correlationId' | 'status' | 'done' | 'version' | 'updatedAt' | 'attempt'
> {
  type: `waitless.operation.${OperationEventKind}`;
  /** queued: when it may start, where that is put off. */
  runAt?: string | null;
  /** queued again: what became of the attempt before. */
  lastAttempt?: { attempt: number; outcome: string | null; backendStatus: number | null; detail: string | null };
  /** running: when the first attempt began. */
  startedAt?: string | null;
  /** progress */
  progress?: OperationProgress;
  /** The others stand in the last event. */
  finishedAt?: string;
  expiresAt?: string | null;
  resourceLocation?: string;
  error?: OperationError | null;
}

/** In the place of events that cannot be named: where the operation stands now. Events go on from there. */
export interface OperationReset {
  type: 'reset';
  /** Why, in a sentence. */
  detail: string;
  operation: Operation;
}

/** The same in a stream of many operations: where each of them stands, in the order of their ids. */
export interface OperationsReset {
  type: 'reset';
  detail: string;
  operations: Operation[];
}

/** A service with its live counts: GET /v1/services. */
export interface ServiceSummary {
  name: string;
  target: 'http' | 'pull';
  mode: 'async' | 'sync';
  /** Whether it comes from the server's configuration or was made over the API. */
  source: 'config' | 'api';
  counts: Record<OperationStatus, number>;
  recent: RecentDurations;
}

/** What the answering node learned from what it recorded itself. */
export interface RecentDurations {
  /** How long the work takes, from the begin of an attempt to its answer: the middle, and what nine of ten stay under. Null until one has ended. */
  p50Ms: number | null;
  p90Ms: number | null;
  /** Operations that ended within the last minute. */
  perMinute: number;
}
