// An example of every body, for the OpenAPI and AsyncAPI documents: one story of one operation and one topic, so that they fit together.
import { errorTable } from '@waitless/protocol';
import { exampleDeliveryId as deliveryId, exampleId as id } from './openapi-details.ts';

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
