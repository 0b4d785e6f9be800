// The one table of routes: the server registers its handlers from it, the SDK builds its URLs from it, the OpenAPI document is made from it.
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
  readonly tag: 'submit' | 'operations' | 'workers' | 'services' | 'operate';
  /** Needs an API key where keys exist: `key`, carries its own capability: `token`, open to all: `none`. */
  readonly access: 'key' | 'token' | 'none';
  /** Request headers with a meaning here, names of the header table. */
  readonly headers?: readonly string[];
  readonly query?: readonly QueryParameter[];
  /** Name of the schema of the JSON body, or `bytes` for an opaque one. */
  readonly input?: string;
  /** Success answers: status → schema name, `bytes`, `html`, `text` or null for none. */
  readonly output: Readonly<Record<number, string | null>>;
  readonly errors: readonly ErrorCode[];
}

const submitHeaders = [
  'Prefer',
  'Idempotency-Key',
  'Correlation-Id',
  'Operation-Timeout',
  'Operation-Delay',
  'Operation-Start-By',
  'Operation-Priority',
  'Operation-Labels',
  'Operation-Durability',
  'Cache-Control',
  'traceparent',
  'tracestate',
] as const;

const submitErrors: readonly ErrorCode[] = [
  'invalid-name',
  'invalid-parameter',
  'duplicate-header',
  'conflicting-headers',
  'idempotency-key-invalid',
  'unknown-service',
  'idempotency-in-progress',
  'payload-too-large',
  'idempotency-key-reused',
  'queue-full',
  'not-implemented',
  'overloaded',
  'storage-unavailable',
  'engine-unavailable',
  'shutting-down',
  'not-stored',
  'insufficient-storage',
  'too-many-connections',
  'attempts-exhausted',
  'failed-by-worker',
  'bad-backend-response',
  'timed-out',
  'not-started-in-time',
  'cancelled',
];

const resultErrors: readonly ErrorCode[] = [
  'not-found',
  'cancelled',
  'result-expired',
  'attempts-exhausted',
  'failed-by-worker',
  'bad-backend-response',
  'timed-out',
  'not-started-in-time',
];
const leaseErrors: readonly ErrorCode[] = [
  'invalid-name',
  'invalid-json',
  'invalid-parameter',
  'unknown-field',
  'not-found',
  'lease-lost',
  'already-terminal',
  'cancelled',
  'unsupported-media-type',
  'payload-too-large',
];

const call = {
  method: 'ANY',
  tag: 'submit',
  access: 'key',
  headers: submitHeaders,
  input: 'bytes',
  output: { 200: 'bytes', 202: 'OperationReceipt' },
  errors: submitErrors,
} as const;

/** Every route that is built. The key is the operationId of the OpenAPI document. */
export const routes = {
  call: { ...call, path: '/v1/call/{service}', summary: 'Submit a request to a service' },
  callPath: { ...call, path: '/v1/call/{service}/{path…}', summary: 'Submit a request to a path below a service' },
  listOperations: {
    method: 'GET',
    path: '/v1/operations',
    tag: 'operations',
    access: 'key',
    summary: 'List operations, newest first',
    query: [
      { name: 'service', summary: 'Only this service.' },
      { name: 'status', summary: 'Only these states, separated by commas.' },
      { name: 'correlationId', summary: 'Only this correlation id.' },
      { name: 'label.*', summary: 'Only with this label, such as `label.customer=42`.' },
      { name: 'createdAfter', summary: 'RFC 3339 time.' },
      { name: 'createdBefore', summary: 'RFC 3339 time.' },
      { name: 'limit', summary: '1 to 1000, default 50.' },
      { name: 'cursor', summary: '`next` of the page before.' },
      { name: 'key', summary: 'Business key.', built: false },
    ],
    output: { 200: 'OperationPage' },
    errors: ['invalid-parameter', 'invalid-cursor', 'not-implemented'],
  },
  getOperation: {
    method: 'GET',
    path: '/v1/operations/{id}',
    tag: 'operations',
    access: 'key',
    summary: 'Status of an operation; `Prefer: wait=N` long-polls for a change',
    headers: ['Prefer'],
    query: [
      { name: 'on-complete', summary: '`303` redirects to the result when done.', built: false },
      { name: 'include', summary: '`result` embeds a small result.', built: false },
    ],
    output: { 200: 'Operation', 304: null },
    errors: ['not-found', 'result-expired', 'too-many-connections', 'not-implemented'],
  },
  getResult: {
    method: 'GET',
    path: '/v1/operations/{id}/result',
    tag: 'operations',
    access: 'key',
    summary: 'Result of an operation, byte for byte; `Prefer: wait=N` waits for it',
    headers: ['Prefer'],
    query: [{ name: 'envelope', summary: '`json` shows status, headers and body in a 200.' }],
    output: { 200: 'bytes', 202: 'Operation', 304: null },
    errors: [...resultErrors, 'too-many-connections'],
  },
  getTimeline: {
    method: 'GET',
    path: '/v1/operations/{id}/timeline',
    tag: 'operations',
    access: 'key',
    summary: 'Attempts, waits and progress with their times',
    output: { 200: 'Timeline' },
    errors: ['not-found'],
  },
  cancelOperation: {
    method: 'DELETE',
    path: '/v1/operations/{id}',
    tag: 'operations',
    access: 'key',
    summary: 'Cancel; with `?purge=true` forget a finished one',
    query: [{ name: 'purge', summary: '`true` forgets a finished operation.' }],
    output: { 200: 'Operation', 204: null },
    errors: ['not-found', 'result-expired', 'invalid-parameter', 'not-finished'],
  },
  listServices: {
    method: 'GET',
    path: '/v1/services',
    tag: 'services',
    access: 'key',
    summary: 'Services with their live counts',
    output: { 200: 'ServicePage' },
    errors: [],
  },
  lease: {
    method: 'POST',
    path: '/v1/services/{service}/leases',
    tag: 'workers',
    access: 'key',
    summary: 'Take work, and answer the work taken before',
    input: 'LeaseRequest',
    output: { 200: 'LeaseResponse' },
    errors: [
      ...leaseErrors,
      'unknown-service',
      'payload-too-complex',
      'overloaded',
      'storage-unavailable',
      'engine-unavailable',
      'shutting-down',
    ],
  },
  replyLease: {
    method: 'POST',
    path: '/v1/leases/{token}/reply',
    tag: 'workers',
    access: 'token',
    summary: 'Answer: the raw body is the result',
    headers: ['Result-Status'],
    input: 'bytes',
    output: { 200: 'Settled' },
    errors: [
      ...leaseErrors,
      'result-already-recorded',
      'overloaded',
      'storage-unavailable',
      'engine-unavailable',
      'insufficient-storage',
    ],
  },
  failLease: {
    method: 'POST',
    path: '/v1/leases/{token}/fail',
    tag: 'workers',
    access: 'token',
    summary: 'This attempt failed',
    input: 'Fail',
    output: { 200: 'Settled' },
    errors: leaseErrors,
  },
  extendLease: {
    method: 'POST',
    path: '/v1/leases/{token}/extend',
    tag: 'workers',
    access: 'token',
    summary: 'Keep the lease longer',
    input: 'Extend',
    output: { 200: 'LeaseState' },
    errors: leaseErrors,
  },
  progressLease: {
    method: 'POST',
    path: '/v1/leases/{token}/progress',
    tag: 'workers',
    access: 'token',
    summary: 'Report progress, which also extends the lease',
    input: 'Progress',
    output: { 200: 'LeaseState' },
    errors: leaseErrors,
  },
  releaseLease: {
    method: 'POST',
    path: '/v1/leases/{token}/release',
    tag: 'workers',
    access: 'token',
    summary: 'Give the work back without using an attempt',
    output: { 200: 'Settled' },
    errors: leaseErrors,
  },
  livez: {
    method: 'GET',
    path: '/livez',
    tag: 'operate',
    access: 'none',
    summary: 'The process runs',
    output: { 200: 'Health' },
    errors: [],
  },
  readyz: {
    method: 'GET',
    path: '/readyz',
    tag: 'operate',
    access: 'none',
    summary: 'The server takes work',
    output: { 200: 'Health' },
    errors: ['storage-unavailable', 'engine-unavailable', 'shutting-down'],
  },
  metrics: {
    method: 'GET',
    path: '/metrics',
    tag: 'operate',
    access: 'key',
    summary: 'Prometheus metrics',
    output: { 200: 'text' },
    errors: [],
  },
  openapi: {
    method: 'GET',
    path: '/openapi.json',
    tag: 'operate',
    access: 'none',
    summary: 'This document',
    output: { 200: 'json' },
    errors: [],
  },
  home: {
    method: 'GET',
    path: '/',
    tag: 'operate',
    access: 'none',
    summary: 'One page for people: services, recent operations, what to type next',
    output: { 200: 'html' },
    errors: [],
  },
  style: {
    method: 'GET',
    path: '/style.css',
    tag: 'operate',
    access: 'none',
    summary: 'Style sheet of the pages for people',
    output: { 200: 'css' },
    errors: [],
  },
  problem: {
    method: 'GET',
    path: '/problems/{code}',
    tag: 'operate',
    access: 'none',
    summary: 'What an error code means and what to do',
    output: { 200: 'html' },
    errors: ['not-found'],
  },
} as const satisfies Record<string, Route>;

export type RouteName = keyof typeof routes;

/** Documented routes of later versions: 501 `not-implemented`, so that nobody takes a 404 for "no such id". */
export const unbuiltRoutes = [
  '/v1/batch',
  '/v1/operations/{id}/events',
  '/v1/operations/{id}/deliveries',
  '/v1/services/{service}',
  '/v1/services/{service}/results',
  '/v1/services/{service}/results/{key…}',
  '/v1/topics/{topic}/events',
  '/v1/subscriptions/{name}',
  '/v1/subscriptions/{name}/{action}',
  '/v1/stream',
  '/v1/tokens',
  '/v1/callback-secrets',
  '/v1/callback-secrets/rotate',
  '/v1/deliveries/{id}',
  '/v1/deliveries/{id}/retry',
  '/v1/leases/{token}/ack',
  '/v1/leases/{token}/nack',
  '/v1/backup',
  '/asyncapi.json',
  '/docs',
] as const;

/** The URL path of a route with its parameters percent-encoded. */
export function routePath(name: RouteName, parameters: Readonly<Record<string, string>> = {}): string {
  return routes[name].path.replace(/\{([a-z]+)(…?)\}/g, (_, parameter: string, rest: string) => {
    const value = parameters[parameter] ?? '';
    return rest ? value : encodeURIComponent(value);
  });
}
