// What is said of a route: enough for the server to register it, for the SDK to build its URL, and for the OpenAPI document to tell of it.
import type { ErrorCode } from './errors.ts';

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** Those of the submit that OpenAPI and every HTTP client know; the server takes whatever its parser does, but TRACE and CONNECT. */
export const callMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;

export interface QueryParameter {
  readonly name: string;
  readonly summary: string;
  readonly built?: false;
}

export interface Route {
  readonly method: HttpMethod | 'ANY';
  /** `{name}` is one path segment, a final `{name…}` the raw rest. */
  readonly path: string;
  readonly summary: string;
  readonly tag:
    | 'submit'
    | 'operations'
    | 'results'
    | 'workers'
    | 'services'
    | 'topics'
    | 'subscriptions'
    | 'callbacks'
    | 'operate';
  /** Needs an API key where keys exist: `key`, carries its own capability: `token`, open to all: `none`. */
  readonly access: 'key' | 'token' | 'none';
  /** A read-only token in `?token=` that names the operation `{id}`, or all that the query names, opens it too. */
  readonly readableByToken?: true;
  /** Request headers with a meaning here, names of the header table. */
  readonly headers?: readonly string[];
  readonly query?: readonly QueryParameter[];
  /** Name of the schema of the JSON body, or `bytes` for an opaque one. */
  readonly input?: string;
  /** Success answers: status → schema name, `bytes`, `html`, `text` or null for none. */
  readonly output: Readonly<Record<number, string | null>>;
  readonly errors: readonly ErrorCode[];
}
