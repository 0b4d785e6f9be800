// The shapes of the worker's side: taking work for a while and answering it.

/** `[name, value]` pairs, in order, repeated names kept. */
export type HeaderPairs = [string, string][];

/** A body inside a JSON envelope: a string is its UTF-8 bytes, any other JSON value its source text, `bodyBase64` anything else. */
export interface EnvelopeBody {
  body?: unknown;
  bodyBase64?: string;
}

export interface ReplyEnvelope extends EnvelopeBody {
  /** Default 200; judged as a backend's answer would be, 202 is refused. */
  status?: number;
  headers?: Record<string, string> | HeaderPairs;
}

export interface FailEnvelope {
  code: string;
  message: string;
  /** Whether another attempt may help. Default true. */
  retry?: boolean;
  /** Duration or seconds before the next attempt. */
  retryAfter?: string | number;
}

/** One answer of the last batch, piggybacked on the next lease call. Exactly one of reply, fail, release. */
export interface Settlement {
  token: string;
  reply?: ReplyEnvelope;
  fail?: FailEnvelope;
  release?: true;
}

/** POST /v1/services/{service}/leases */
export interface LeaseRequest {
  /** Name of the worker, shown in the timeline. */
  worker?: string;
  /** Most leases wanted. Default 1, at most 1000. */
  max?: number;
  /** How long to wait for work. Default 0, at most 50. */
  waitSeconds?: number;
  /** How long each lease lasts without extension. Default the service's `lease`. */
  leaseSeconds?: number;
  settle?: Settlement[];
}

/** What became of one settlement: `status` as the single call would have answered, `code` of the error table when refused. */
export interface SettleOutcome {
  status: number;
  code?: string;
  detail?: string;
}

export interface Lease {
  token: string;
  operation: { id: string; correlationId: string; service: string; labels: Record<string, string>; createdAt: string };
  request: { method: string; path: string; query: string; headers: HeaderPairs; body?: string; bodyBase64?: string };
  attempt: number;
  lastAttempt: boolean;
  /** When the operation's total time ends. */
  deadline: string | null;
  /** When this lease ends unless extended. */
  expiresAt: string;
}

/** An event of a pull subscription, for a while. */
export interface EventLease {
  token: string;
  position: number;
  topic: string;
  attempt: number;
  /** A nack of this one gives it up. */
  lastAttempt: boolean;
  /** When this lease ends unless extended. */
  expiresAt: string;
  event: CloudEventJson;
}

/** An event in the structured JSON of CloudEvents 1.0. */
export interface CloudEventJson {
  specversion: '1.0';
  id: string;
  source: string;
  type: string;
  [attribute: string]: unknown;
}

export interface LeaseResponse {
  settled: SettleOutcome[];
  leases: Lease[];
}
