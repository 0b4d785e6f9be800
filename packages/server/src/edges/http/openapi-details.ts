// What the protocol tables do not hold and a reader of the OpenAPI document wants: types and examples of parameters, words about each tag.
import {
  callMethods,
  deliveryStates,
  durabilities,
  errorTable,
  operationStatuses,
  type Route,
} from '@waitless/protocol';

export type Fields = Record<string, unknown>;

/** Schema and example of a parameter, by its name. */
export interface ParameterDetail {
  readonly schema: Fields;
  readonly example?: unknown;
  readonly description?: string;
}

const duration: Fields = { type: 'string', pattern: '^\\d+(\\.\\d+)?(ms|s|m|h|d)$' };
const namePattern = '^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$';
/** Of the operation in every example. */
export const exampleId = '00w8k3v9q2m4x8z7r6t5w1y0n2b4c8';
export const exampleDeliveryId = 'dlv_5b1f0c9d2e7a48361c0d9e8f7a6b5c4d1z';

export const headerDetails: Readonly<Record<string, ParameterDetail>> = {
  Prefer: { schema: { type: 'string' }, example: 'wait=10' },
  'Idempotency-Key': { schema: { type: 'string', minLength: 1, maxLength: 257 }, example: '"order-4711"' },
  'Correlation-Id': { schema: { type: 'string', minLength: 1 }, example: 'conversation-42' },
  'Operation-Timeout': { schema: duration, example: '10m' },
  'Operation-Delay': { schema: duration, example: '30s' },
  'Operation-Start-By': { schema: duration, example: '5m' },
  'Operation-Priority': { schema: { type: 'integer', minimum: 0, maximum: 9, default: 5 }, example: 7 },
  'Operation-Labels': { schema: { type: 'string' }, example: 'customer=42, region=eu' },
  'Operation-Durability': { schema: { type: 'string', enum: [...durabilities], default: 'stored' }, example: 'stored' },
  'Result-Key': { schema: { type: 'string', minLength: 1 }, example: 'customer-42' },
  'Callback-Url': { schema: { type: 'string', format: 'uri', maxLength: 2048 }, example: 'https://example.com/done' },
  'Callback-Events': { schema: { type: 'string', enum: ['progress'] }, example: 'progress' },
  'Callback-Body': { schema: { type: 'string', enum: ['full', 'thin'], default: 'full' }, example: 'thin' },
  'Cache-Control': { schema: { type: 'string' }, example: 'no-cache' },
  traceparent: { schema: { type: 'string' }, example: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' },
  tracestate: { schema: { type: 'string' }, example: 'vendor=value' },
  'Ordering-Key': { schema: { type: 'string', minLength: 1, maxLength: 255 }, example: 'customer-42' },
  'Last-Event-ID': { schema: { type: 'string' }, example: `${exampleId}_3` },
  'Result-Status': { schema: { type: 'integer', minimum: 200, maximum: 599, default: 200 }, example: 200 },
  'If-None-Match': {
    schema: { type: 'string' },
    example: 'W/"3"',
    description:
      'The last `ETag`: with `Prefer: wait=N` waits for a change of it, without answers 304 when there is none.',
  },
};

export const queryDetails: Readonly<Record<string, ParameterDetail>> = {
  service: { schema: { type: 'string', pattern: namePattern }, example: 'score' },
  status: {
    schema: { type: 'string', pattern: `^(${operationStatuses.join('|')})(,(${operationStatuses.join('|')}))*$` },
    example: 'queued,running',
  },
  'subscriptions state': { schema: { type: 'string', enum: ['waiting', 'sending', 'held'] }, example: 'waiting' },
  positions: { schema: { type: 'string', pattern: '^[1-9]\\d*(,[1-9]\\d*)*$' }, example: '1040,1042' },
  topics: { schema: { type: 'string' }, example: 'orders.*,bills.**' },
  from: { schema: { type: 'string' }, example: 'start' },
  filter: { schema: { type: 'string', maxLength: 4096 }, example: '{"exact":{"type":"order.placed"}}' },
  'deliveries status': { schema: { type: 'string', enum: [...deliveryStates] }, example: 'dead' },
  correlationId: { schema: { type: 'string' }, example: 'conversation-42' },
  createdAfter: { schema: { type: 'string', format: 'date-time' }, example: '2026-01-01T00:00:00Z' },
  createdBefore: { schema: { type: 'string', format: 'date-time' }, example: '2026-02-01T00:00:00Z' },
  limit: { schema: { type: 'integer', minimum: 1, maximum: 1000, default: 50 }, example: 50 },
  cursor: { schema: { type: 'string' } },
  after: { schema: { type: 'string', minLength: 1 }, example: '4711' },
  envelope: { schema: { type: 'string', enum: ['json'] }, example: 'json' },
  key: { schema: { type: 'string', minLength: 1 }, example: 'customer-42' },
  'on-complete': { schema: { type: 'integer', enum: [303] }, example: 303 },
  include: { schema: { type: 'string', enum: ['result'] }, example: 'result' },
  purge: { schema: { type: 'boolean', default: false }, example: true },
  operations: { schema: { type: 'string', minLength: 1 }, example: exampleId },
};

export const pathDetails: Readonly<Record<string, ParameterDetail>> = {
  service: { schema: { type: 'string', pattern: namePattern }, example: 'score', description: 'Name of the service.' },
  id: { schema: { type: 'string', minLength: 1 }, example: exampleId, description: 'The operation id.' },
  'deliveries id': {
    schema: { type: 'string', pattern: '^dlv_[0-9a-z]{33,43}$' },
    example: exampleDeliveryId,
    description: 'The delivery id.',
  },
  topic: {
    schema: { type: 'string', minLength: 1, maxLength: 255 },
    example: 'orders.placed',
    description:
      'Name of the topic: words joined by dots. Where events are read also a pattern: `*` is one word, `**` any number (`%23` too).',
  },
  name: {
    schema: { type: 'string', pattern: namePattern },
    example: 'order-history',
    description: 'Name of the subscription.',
  },
  token: {
    schema: { type: 'string', minLength: 1 },
    description: 'The lease token: a capability for one attempt, to be kept secret.',
  },
  key: {
    schema: { type: 'string', minLength: 1 },
    example: 'customer-42',
    description: 'The business key, percent-encoded; one with odd bytes is better off in `?key=`.',
  },
  code: {
    schema: { type: 'string', enum: Object.keys(errorTable) },
    example: 'queue-full',
    description: 'The `code` of a problem document.',
  },
  path: {
    schema: { type: 'string' },
    example: 'customers/42',
    description: "The path below the service's target, passed on as it came; its slashes are not percent-encoded.",
  },
};

/** Headers of answers that HTTP itself defines, with what they mean here. */
export const answerHeaders: Readonly<Record<string, ParameterDetail & { description: string }>> = {
  Location: { schema: { type: 'string', format: 'uri' }, description: 'URL of the result.' },
  'Content-Location': { schema: { type: 'string', format: 'uri-reference' }, description: 'URL of this result.' },
  'Retry-After': { schema: { type: 'integer', minimum: 1 }, description: 'Seconds to wait before asking again.' },
  ETag: {
    schema: { type: 'string' },
    description: 'For `If-None-Match`: the version of the status document (weak) or the bytes of the result (strong).',
  },
  'Correlation-Id': {
    schema: { type: 'string' },
    description: "The conversation's id as the client gave it, else the operation id.",
  },
  Age: {
    schema: { type: 'integer', minimum: 0 },
    description: 'Seconds since a result that is answered from the store was stored (RFC 9111).',
  },
  'Cache-Status': {
    schema: { type: 'string' },
    description:
      'Where the request has a business key: `waitless; hit; ttl=N`, `waitless; fwd=miss`, `… fwd=miss; collapsed` where it joined, `… fwd=request`, `… fwd=stale` or `… fwd=method` (RFC 9211).',
  },
  'Operation-Durability': {
    schema: { type: 'string', enum: [...durabilities] },
    description: 'What this answer promises.',
  },
};

export const tagDescriptions: Readonly<Record<Route['tag'], string>> = {
  submit: `Send a request to a service with any of ${callMethods.join(', ')}. Method, path, query, headers and body reach the backend as they came; the answer is a 202 with the operation's id, or the result itself where the request waits for it.`,
  operations:
    'Look up what became of a request: its state, its result byte for byte, its attempts. Waiting requests hold until something changes.',
  results: 'Results under a business key or a correlation id: look up, purge, compute anew.',
  workers:
    'Take work under a lease and answer it. The token of a lease is a capability for one attempt; backends that answer 202 use the same routes later.',
  services: 'The services there are, with their live counts.',
  topics:
    'Facts that one publishes and every interested one gets: CloudEvents at positions that only grow, kept for as long as the topic says.',
  subscriptions:
    'Each subscription gets its own copy of the events of its topics and keeps its place: pushed to a URL or a service, or pulled under leases by consumers that compete.',
  callbacks:
    'Notices to URLs of your choice: what became of each, having one sent again, and the secrets they are signed with.',
  operate: 'Health, metrics, this document and pages for people.',
};
