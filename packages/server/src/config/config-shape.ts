// The shape of a resolved configuration: what every other part of the server may rely on without checking again.

/** Where a service's work is done: pushed to a backend over HTTP, or pulled by workers. */
export type ServiceTarget =
  | {
      readonly kind: 'http';
      readonly url: string;
      readonly headers: Readonly<Record<string, string>>;
      /** `whsec_…`, what each request to the backend is signed with, the newest first; undefined: nothing is signed. */
      readonly secrets?: readonly string[];
    }
  | { readonly kind: 'pull' };

/** Where the business key of a request stands. `path`: number of a segment after the service, from 1. */
export type KeyRule =
  | { readonly from: 'body'; readonly pointer: string }
  | { readonly from: 'query'; readonly name: string }
  | { readonly from: 'header'; readonly name: string }
  | { readonly from: 'path'; readonly segment: number };

/** At most `requests` submits within `windowMs`, per namespace. */
export interface RateLimit {
  readonly requests: number;
  readonly windowMs: number;
}

/** One service with every default filled in. Times in milliseconds, sizes in bytes. */
export interface ServiceConfig {
  readonly name: string;
  readonly target: ServiceTarget;
  /** What a submit without a preference gets: 202 at once, or a wait of `syncWaitMs` first. */
  readonly mode: 'async' | 'sync';
  readonly syncWaitMs: number;
  /** Request headers passed on although they are held back by default, lower case. */
  readonly forward: readonly string[];
  /** Whether an idempotency key that points at a failed operation starts a new one. */
  readonly retryFailed: boolean;
  readonly idempotencyTtlMs: number;
  /** Total time of an operation; caps the caller's Operation-Timeout. */
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  /** How long a backend that answered 202 may take to reply. */
  readonly replyTimeoutMs: number;
  readonly leaseMs: number;
  readonly retry: { readonly maxAttempts: number; readonly initialDelayMs: number; readonly maxDelayMs: number };
  /** Attempts in flight towards a push backend; Infinity for pull, where the workers set the pace. */
  readonly concurrency: number;
  readonly maxBodyBytes: number;
  readonly retentionMs: number;
  /** The parts of the business key, in order; empty where requests have none but what a client names in Result-Key. */
  readonly key: readonly KeyRule[];
  /** Methods whose requests share results under a key. */
  readonly keyMethods: readonly string[];
  /** How long a result answers new submits; undefined: not, unless the backend says so. */
  readonly validForMs: number | undefined;
  /** How long after that it still does while a new one is computed. */
  readonly staleMs: number;
  /** Whether a backend that answers 202 with a status URL is polled for the client. */
  readonly poll: boolean;
  /** Submits taken in a time; undefined: as many as come. */
  readonly rate: RateLimit | undefined;
  /** Most operations that may wait in the queue of a namespace. */
  readonly maxQueued: number | undefined;
  /** Each change of state of its operations is an event, in every namespace. */
  readonly publishTransitions: boolean;
  readonly priority: number;
}

/** Who an API key belongs to. */
export interface KeyOwner {
  readonly name: string;
  readonly namespace: string;
}

/** One line of the key file. */
export interface ApiKey extends KeyOwner {
  /** SHA-256 of the key, 32 bytes. */
  readonly hash: Uint8Array;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface Config {
  /** Address to listen on, an IPv6 one without brackets. */
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Absolute path of the data folder, `:memory:`, or the address of a PostgreSQL database, password included: never to be shown. */
  readonly data: string;
  /** Absolute path of the folder for backups; undefined where the store is no folder. */
  readonly backupFolder: string | undefined;
  /** Absolute path of the key that secrets of the store are sealed with; undefined where no place for it is known, or the store is in memory. */
  readonly secretKeyFile: string | undefined;
  /** Work also on a PostgreSQL that may lose what it has confirmed. */
  readonly acceptWeakDurability: boolean;
  readonly services: ReadonlyMap<string, ServiceConfig>;
  /** Undefined where the server asks for no key. Never empty. */
  readonly keys: readonly ApiKey[] | undefined;
  /** Base of the URLs in answers, without a slash at the end; undefined: the listening URL. */
  readonly publicUrl: string | undefined;
  /** Base of reply and progress URLs, without a slash at the end; undefined: the public one. */
  readonly backendUrl: string | undefined;
  /** CIDR ranges that targets and callbacks given over the API may use although they are private. */
  readonly allowNetwork: readonly string[];
  /** Origins whose pages may call the server. */
  readonly corsOrigins: readonly string[];
  /** CIDR ranges of proxies whose Forwarded headers are believed. */
  readonly trustProxy: readonly string[];
  readonly maxBodyMemoryBytes: number;
  /** Longest hold of a request that waits. */
  readonly maxWaitMs: number;
  /** Most requests held at once. */
  readonly maxWaiters: number;
  readonly maxWaitersPerNamespace: number;
  /** How long a topic keeps events that have no settings of their own, and how many bytes of them; undefined: however many. */
  readonly eventRetentionMs: number;
  readonly eventMaxBytes: number | undefined;
  readonly shutdownTimeoutMs: number;
  readonly logLevel: LogLevel;
}
