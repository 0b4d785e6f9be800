// What the protocol tables do not hold and a reader of the OpenAPI document wants: types of parameters, examples, words about each tag.
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
const id = '00w8k3v9q2m4x8z7r6t5w1y0n2b4c8';
const deliveryId = 'dlv_5b1f0c9d2e7a48361c0d9e8f7a6b5c4d1z';

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
  'Last-Event-ID': { schema: { type: 'string' }, example: `${id}_3` },
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
  operations: { schema: { type: 'string', minLength: 1 }, example: id },
};

export const pathDetails: Readonly<Record<string, ParameterDetail>> = {
  service: { schema: { type: 'string', pattern: namePattern }, example: 'score', description: 'Name of the service.' },
  id: { schema: { type: 'string', minLength: 1 }, example: id, description: 'The operation id.' },
  'deliveries id': {
    schema: { type: 'string', pattern: '^dlv_[0-9a-z]{33,43}$' },
    example: deliveryId,
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

const time = '2026-01-05T10:00:00.000Z';

/** An example of every schema that travels as a whole body. */
export function bodyExamples(serverUrl: string): Readonly<Record<string, unknown>> {
  const self = `${serverUrl}/v1/operations/${id}`;
  const receipt = {
    id,
    service: 'score',
    correlationId: 'conversation-42',
    key: null,
    labels: { customer: '42' },
    createdAt: time,
    resourceLocation: `${self}/result`,
    links: { self, result: `${self}/result`, timeline: `${self}/timeline`, deliveries: `${self}/deliveries` },
  };
  const operation = {
    ...receipt,
    status: 'running',
    done: false,
    version: 3,
    eventId: `${id}_3`,
    startedAt: '2026-01-05T10:00:00.150Z',
    updatedAt: '2026-01-05T10:00:04.000Z',
    finishedAt: null,
    attempt: 1,
    maxAttempts: 5,
    runAt: null,
    deadline: '2026-01-05T10:10:00.000Z',
    progress: { sequence: 1, stage: 'bureaus', percent: 66 },
    queuePosition: null,
    estimatedCompletionAt: null,
    expiresAt: null,
    error: null,
  };
  const unknownService = {
    status: 404,
    problem: {
      type: `${serverUrl}/problems/unknown-service`,
      title: errorTable['unknown-service'].title,
      status: 404,
      detail: 'there is no service "scores"',
      instance: '5d0c6fcd7a3f-1',
      code: 'unknown-service',
    },
  };
  const topic = {
    name: 'orders.placed',
    events: 4711,
    bytes: 1884400,
    last: 52042,
    removedTo: 40100,
    oldestAt: time,
    retention: { maxAge: '30d', maxBytes: '1gb', hardMaxAge: '120d', hardMaxBytes: '4gb' },
    source: 'api',
    savedAt: time,
  };
  const cloudEvent = {
    specversion: '1.0',
    id: 'order-4711',
    source: '/shop',
    type: 'order.placed',
    time,
    datacontenttype: 'application/json',
    data: { customer: 'alice', pizza: 'margherita' },
  };
  const token = 'TOKEN';
  const subscriptionDocument = {
    topic: 'orders.*',
    filter: { prefix: { type: 'order.' } },
    target: { pull: true },
    from: 'now',
    ordered: false,
    maxInFlight: 1000,
    retry: { maxAttempts: 5, initialDelay: '1s', maxDelay: '5m' },
    lease: '30s',
    deadLetter: true,
  };
  const subscription = {
    name: 'order-history',
    state: 'active',
    blockedUntil: null,
    createdAt: time,
    savedAt: time,
    readTo: 1041,
    lag: { atLeast: 1, atMost: 1 },
    oldestUnacknowledged: { position: 1040, since: time },
    open: { waiting: 0, sending: 1, held: 0, dead: 1 },
    document: subscriptionDocument,
  };
  const takenEvent = {
    position: 1040,
    topic: 'orders.placed',
    orderingKey: 'alice',
    attempt: 1,
    takenAt: time,
    code: null,
    detail: null,
  };
  const delivery = {
    id: deliveryId,
    operation: id,
    eventId: `${id}_4`,
    correlationId: 'conversation-42',
    url: 'https://example.com/done',
    body: 'full',
    status: 'waiting',
    attempt: 1,
    createdAt: '2026-01-05T10:00:06.000Z',
    nextAt: '2026-01-05T10:00:11.200Z',
    endedAt: null,
    code: 'unexpected-status',
    links: { self: `${serverUrl}/v1/deliveries/${deliveryId}`, operation: self },
  };
  return {
    OperationReceipt: receipt,
    Operation: operation,
    OperationPage: { items: [operation], next: null },
    ResultEnvelope: { status: 200, headers: [['content-type', 'application/json']], body: '{"score":712}' },
    Timeline: {
      items: [
        { type: 'accepted', at: time },
        { type: 'attempt', at: '2026-01-05T10:00:00.150Z', attempt: 1, endedAt: null, outcome: null },
      ],
      next: null,
    },
    OperationEventPage: {
      items: [
        {
          eventId: `${id}_3`,
          type: 'waitless.operation.progress',
          id,
          service: 'score',
          correlationId: 'conversation-42',
          status: 'running',
          done: false,
          version: 3,
          updatedAt: '2026-01-05T10:00:04.000Z',
          attempt: 1,
          progress: { sequence: 1, stage: 'bureaus', percent: 66 },
        },
      ],
      next: null,
    },
    ServicePage: {
      items: [
        {
          name: 'score',
          target: 'http',
          mode: 'async',
          source: 'config',
          counts: { queued: 2, running: 16, succeeded: 4711, failed: 3, cancelled: 0 },
          recent: { p50Ms: 1840, p90Ms: 4200, perMinute: 510 },
        },
      ],
      next: null,
    },
    Service: { target: { url: 'https://score.example.com' }, timeout: '5m', concurrency: 4 },
    ServiceDocument: {
      name: 'score',
      source: 'api',
      savedAt: time,
      document: { target: { url: 'https://score.example.com', headers: {} }, timeout: '5m', concurrency: 4 },
    },
    Delivery: delivery,
    DeliveryPage: { items: [delivery], next: null },
    DeliveryWithAttempts: {
      ...delivery,
      attempts: [
        {
          attempt: 1,
          at: '2026-01-05T10:00:06.005Z',
          durationMs: 41,
          status: 500,
          code: 'unexpected-status',
          detail: 'the receiver answered 500',
          answer: 'out of order',
          nextAt: '2026-01-05T10:00:11.200Z',
        },
      ],
    },
    TopicSettings: { maxAge: '30d', maxBytes: '1gb' },
    Topic: topic,
    TopicPage: { items: [topic], next: null },
    Published: { ids: ['order-4711'], positions: [1042] },
    EventPage: {
      items: [{ position: 1042, topic: 'orders.placed', event: cloudEvent }],
      next: null,
      cursor: '10a-0123456789abcdef0123456789abcdef',
    },
    SubscriptionDocument: { topic: 'orders.*', target: { pull: true }, from: 'start' },
    Subscription: subscription,
    SubscriptionPage: { items: [subscription], next: null },
    OpenEventPage: {
      items: [
        { ...takenEvent, state: 'sending', worker: 'worker-1', nextAt: null, expiresAt: '2026-01-05T10:00:30.000Z' },
      ],
      next: null,
    },
    DeadLetterPage: {
      items: [{ ...takenEvent, attempt: 5, code: 'nacked', detail: 'no such pizza', event: cloudEvent }],
      next: null,
    },
    Redrive: { positions: [1040] },
    Redriven: { redriven: 1 },
    Removed: { removed: 1 },
    Nack: { retryAfter: '10s', message: 'the kitchen is closed' },
    EventLeaseRequest: {
      worker: 'worker-1',
      max: 10,
      waitSeconds: 20,
      settle: [
        { token: `${token}-1`, ack: true },
        { token: `${token}-2`, nack: { retryAfter: '10s' } },
      ],
    },
    EventLeaseResponse: {
      settled: [{ status: 200 }, { status: 200 }],
      leases: [
        {
          token,
          position: 1042,
          topic: 'orders.placed',
          attempt: 1,
          lastAttempt: false,
          expiresAt: '2026-01-05T10:00:30.000Z',
          event: cloudEvent,
        },
      ],
    },
    CallbackSecretPage: {
      items: [
        { id: 'cs_0f8e4c1b7a95d263', createdAt: time, ageSeconds: 3600, validUntil: null, readable: true },
        {
          id: 'cs_71d2a6b3c4e5f089',
          createdAt: '2025-10-05T10:00:00.000Z',
          ageSeconds: 7952400,
          validUntil: '2026-01-06T10:00:00.000Z',
          readable: true,
        },
      ],
      next: null,
    },
    RotateRequest: { overlapHours: 24 },
    RotatedSecret: {
      id: 'cs_0f8e4c1b7a95d263',
      secret: 'whsec_SECRET',
      createdAt: time,
      previous: { id: 'cs_71d2a6b3c4e5f089', validUntil: '2026-01-06T10:00:00.000Z' },
    },
    TokenRequest: { operations: [id], expiresIn: '15m' },
    Token: { token: 'TOKEN', expiresAt: '2026-01-05T10:15:00.000Z' },
    Backup: {
      state: 'done',
      file: '/var/lib/waitless/backups/waitless-2026-01-05T10-00-00-000Z.db',
      bytes: 52428800,
      startedAt: time,
      createdAt: '2026-01-05T10:00:02.500Z',
      copiedBytes: 52428800,
      totalBytes: 52428800,
      error: null,
    },
    BatchRequest: [
      { service: 'score', headers: { 'Content-Type': 'application/json' }, body: { customerId: 42 } },
      { service: 'scores', body: 'customer=43' },
    ],
    BatchItem: { service: 'score', headers: { 'Content-Type': 'application/json' }, body: { customerId: 42 } },
    BatchResponse: [{ status: 202, operation: receipt, retryAfter: 3 }, unknownService],
    BatchOutcome: { status: 202, operation: receipt, retryAfter: 3 },
    LeaseRequest: {
      worker: 'worker-1',
      max: 10,
      waitSeconds: 30,
      settle: [
        { token, reply: { status: 200, headers: { 'content-type': 'application/json' }, body: { score: 712 } } },
      ],
    },
    LeaseResponse: {
      settled: [{ status: 200 }],
      leases: [
        {
          token,
          operation: {
            id,
            correlationId: 'conversation-42',
            service: 'score',
            labels: { customer: '42' },
            createdAt: time,
          },
          request: {
            method: 'POST',
            path: '',
            query: '',
            headers: [['content-type', 'application/json']],
            body: '{"customerId":42}',
          },
          attempt: 1,
          lastAttempt: false,
          deadline: '2026-01-05T10:10:00.000Z',
          expiresAt: '2026-01-05T10:00:30.000Z',
        },
      ],
    },
    Fail: { code: 'bureau-unavailable', message: 'The bureau did not answer.', retry: true, retryAfter: '30s' },
    Extend: { leaseSeconds: 60 },
    Progress: { stage: 'bureaus', percent: 66, message: '2 of 3 bureaus have answered' },
    LeaseState: { expiresAt: '2026-01-05T10:01:00.000Z' },
    Settled: { status: 'succeeded' },
    Health: { status: 'ok' },
  };
}
