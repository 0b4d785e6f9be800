// JSON Schemas (2020-12) of what travels in JSON, named as the OpenAPI document names them.

import { mostBatchItems } from './batch.ts';
import { deliveryStates } from './delivery.ts';
import { operationEventKinds } from './operation.ts';

export type Schema = { readonly [key: string]: unknown };

const text: Schema = { type: 'string' };
const time: Schema = { type: 'string', format: 'date-time' };
const maybe = (schema: Schema): Schema => ({ anyOf: [schema, { type: 'null' }] });
const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
const whole = (minimum: number, maximum?: number): Schema => ({
  type: 'integer',
  minimum,
  ...(maximum === undefined ? {} : { maximum }),
});
const object = (
  properties: Record<string, Schema>,
  required: readonly string[] = Object.keys(properties),
  more: Schema = {},
): Schema => ({
  type: 'object',
  properties,
  required,
  ...more,
});
const closed: Schema = { additionalProperties: false };

const receipt: Record<string, Schema> = {
  id: {
    type: 'string',
    description: 'The operation id: unguessable, the same for client and backend.',
    examples: ['00w8k3v9q2m4x8z7r6t5w1y0n2b4c8'],
  },
  service: text,
  correlationId: text,
  key: maybe(text),
  labels: { type: 'object', additionalProperties: text },
  createdAt: time,
  resourceLocation: { type: 'string', format: 'uri', description: 'URL of the result.' },
  links: object({
    self: { type: 'string', format: 'uri' },
    result: { type: 'string', format: 'uri' },
    timeline: { type: 'string', format: 'uri' },
    deliveries: { type: 'string', format: 'uri' },
  }),
};

const envelopeBody: Record<string, Schema> = {
  body: { description: 'A string is its UTF-8 bytes; any other JSON value is its source text, verbatim.' },
  bodyBase64: { type: 'string', contentEncoding: 'base64' },
};

const headerValues: Schema = {
  description: 'An object, or a list of [name, value] pairs where a name stands twice.',
  anyOf: [
    { type: 'object', additionalProperties: text },
    { type: 'array', items: { type: 'array', prefixItems: [text, text], minItems: 2, maxItems: 2 } },
  ],
};

const fail = object(
  {
    code: { type: 'string', minLength: 1, maxLength: 128 },
    message: { type: 'string', maxLength: 2000 },
    retry: { type: 'boolean', default: true, description: 'Whether another attempt may help.' },
    retryAfter: { description: 'A duration such as `30s`, or seconds.', anyOf: [text, { type: 'number', minimum: 0 }] },
  },
  ['code', 'message'],
  closed,
);

const progress: Record<string, Schema> = {
  stage: { type: 'string', maxLength: 128 },
  percent: { type: 'number', minimum: 0, maximum: 100 },
  message: { type: 'string', maxLength: 2000 },
  data: { description: 'Any JSON, 16 KB at most.' },
};

const operation: Record<string, Schema> = {
  ...receipt,
  status: { type: 'string', enum: ['queued', 'running', 'succeeded', 'failed', 'cancelled'] },
  done: { type: 'boolean' },
  version: whole(1),
  eventId: text,
  startedAt: maybe(time),
  updatedAt: time,
  finishedAt: maybe(time),
  attempt: whole(0),
  maxAttempts: whole(1),
  runAt: maybe(time),
  deadline: maybe(time),
  progress: maybe(object({ sequence: whole(1), ...progress }, ['sequence'])),
  queuePosition: maybe(whole(0)),
  estimatedCompletionAt: maybe(time),
  expiresAt: maybe(time),
  error: maybe(object({ code: text, message: text, type: text, detail: text }, ['code', 'message'])),
  result: {
    ...maybe(ref('ResultEnvelope')),
    description: 'Only with `?include=result`; null while there is none, or none of at most 64 KB.',
  },
};

const delivery: Record<string, Schema> = {
  id: text,
  operation: { type: 'string', description: 'Id of the operation that it tells of.' },
  eventId: { type: 'string', description: 'Also the `webhook-id`, the same on every attempt.' },
  correlationId: text,
  url: { type: 'string', format: 'uri' },
  body: { type: 'string', enum: ['full', 'thin'], description: 'Whether the result stands in it.' },
  status: { type: 'string', enum: [...deliveryStates] },
  attempt: { ...whole(0), description: 'Attempts begun so far.' },
  createdAt: time,
  nextAt: maybe(time),
  endedAt: { ...maybe(time), description: 'When it was delivered or given up.' },
  code: { ...maybe(text), description: 'Why it was given up, or why the last attempt failed.' },
  links: object({ self: { type: 'string', format: 'uri' }, operation: { type: 'string', format: 'uri' } }),
};

const deliveryAttempt = object({
  attempt: whole(1),
  at: time,
  durationMs: { ...maybe(whole(0)), description: 'null: the server ended meanwhile; whether it arrived is not known.' },
  status: { ...maybe(whole(100, 599)), description: "Of the receiver's answer." },
  code: { ...maybe(text), description: 'What went wrong; null: nothing.' },
  detail: maybe(text),
  answer: { ...maybe(text), description: 'The beginning of the answer, at most 4 KB, controls written as escapes.' },
  nextAt: maybe(time),
});

const topicSettings: Record<string, Schema> = {
  maxAge: { type: 'string', description: 'Events are kept for so long, such as `7d`.' },
  maxBytes: {
    type: 'string',
    description: 'And no more than this of them, such as `1gb`; absent: however much it is.',
  },
  hardMaxAge: {
    type: 'string',
    description:
      'Beyond `maxAge` what a durable subscription has not read yet is kept on, for so long at most; four times as long by default.',
  },
  hardMaxBytes: { type: 'string', description: 'The same for `maxBytes`; four times as much by default.' },
};

const topic: Record<string, Schema> = {
  name: text,
  events: { ...whole(0), description: 'That are kept.' },
  bytes: { ...whole(0), description: 'Of them, with their attributes.' },
  last: { ...whole(0), description: 'Position of the newest; 0: none yet.' },
  removedTo: { ...whole(0), description: 'Newest position that is not kept any more; 0: none was removed.' },
  oldestAt: { ...maybe(time), description: 'When the oldest that is kept was published.' },
  retention: object(topicSettings, ['maxAge', 'hardMaxAge']),
  source: { type: 'string', enum: ['api', 'default'], description: 'Where the retention comes from.' },
  savedAt: maybe(time),
};

const cloudEvent: Schema = {
  type: 'object',
  description:
    'CloudEvents 1.0 in JSON. `data` is what was published, byte for byte where it is JSON; `data_base64` where it is no text.',
  properties: {
    specversion: { type: 'string', enum: ['1.0'] },
    id: { type: 'string', minLength: 1 },
    source: { type: 'string', minLength: 1 },
    type: { type: 'string', minLength: 1 },
    time: { type: 'string', format: 'date-time' },
    subject: { type: 'string' },
    datacontenttype: { type: 'string' },
    data: { description: 'Any JSON; text where the type is text.' },
    data_base64: { type: 'string', contentEncoding: 'base64' },
  },
  required: ['specversion', 'id', 'source', 'type'],
};

const subscriptionDocument: Record<string, Schema> = {
  topic: { type: 'string', description: 'A name, or a pattern with `*` for one word and `**` for any number.' },
  topics: { type: 'array', items: text, minItems: 1, maxItems: 32, description: 'Several, in the place of `topic`.' },
  filter: {
    description:
      'Which events: an object with one of `exact`, `prefix`, `suffix` (attributes and texts), `all`, `any`, `not`; an array means all of it.',
    anyOf: [
      { type: 'object', additionalProperties: true },
      { type: 'array', items: { type: 'object', additionalProperties: true } },
    ],
  },
  target: {
    description: 'Who gets them: those who pull, a URL, or a service, which starts an operation for each.',
    anyOf: [
      object({ pull: { const: true } }, ['pull'], closed),
      object(
        {
          url: { type: 'string', format: 'uri' },
          headers: { type: 'object', additionalProperties: text },
          secret: {
            description: 'Signs what is sent, in the place of the callback secrets of the namespace. Never shown.',
            anyOf: [text, { type: 'array', items: text, minItems: 1, maxItems: 2 }],
          },
        },
        ['url'],
        closed,
      ),
      object({ service: text }, ['service'], closed),
    ],
  },
  from: {
    description: 'Where a new one begins: after all there is now, at the oldest that is kept, or after a position.',
    anyOf: [{ type: 'string', enum: ['now', 'start'] }, whole(0)],
    default: 'now',
  },
  ordered: { type: 'boolean', default: false, description: 'Events of one ordering key one after another.' },
  maxInFlight: {
    ...whole(1, 10_000),
    description: 'Out at once. By default 1000 for pull, 16 for a URL, 100 for a service.',
  },
  retry: object({ maxAttempts: whole(1, 1000), initialDelay: text, maxDelay: text }, [], closed),
  lease: { type: 'string', description: 'How long who pulls has for an event, such as `30s`.' },
  deadLetter: {
    type: 'boolean',
    default: true,
    description: 'Whether what was given up is kept; `false`: it is dropped.',
  },
};

const subscription = object(
  {
    name: text,
    state: { type: 'string', enum: ['active', 'paused', 'blocked', 'unusable'] },
    problem: { type: 'string', description: 'Why it is unusable on this server.' },
    blockedUntil: { ...maybe(time), description: 'Its receiver failed again and again: nothing is sent until then.' },
    createdAt: time,
    savedAt: time,
    readTo: { ...whole(0), description: 'Everything up to this position was looked at.' },
    lag: {
      ...object({ atLeast: whole(0), atMost: whole(0) }),
      description:
        'Events of its topics after `readTo`, those that its filter will leave out included; exact where both are the same.',
    },
    oldestUnacknowledged: maybe(object({ position: whole(1), since: maybe(time) })),
    open: object({ waiting: whole(0), sending: whole(0), held: whole(0), dead: whole(0) }),
    document: maybe(ref('SubscriptionDocument')),
  },
  [
    'name',
    'state',
    'blockedUntil',
    'createdAt',
    'savedAt',
    'readTo',
    'lag',
    'oldestUnacknowledged',
    'open',
    'document',
  ],
);

const takenEvent: Record<string, Schema> = {
  position: whole(1),
  topic: maybe(text),
  orderingKey: maybe(text),
  attempt: { ...whole(0), description: 'Tries begun so far.' },
  takenAt: time,
  code: { ...maybe(text), description: 'What went wrong at the last try.' },
  detail: maybe(text),
};

const nack = object(
  {
    retryAfter: {
      description: 'A duration such as `30s`, or seconds; absent: as `retry` of the subscription says.',
      anyOf: [text, { type: 'number', minimum: 0 }],
    },
    message: { type: 'string', maxLength: 2000, description: 'Shown with the event, and with its dead letter.' },
  },
  [],
  closed,
);

export const schemas: Readonly<Record<string, Schema>> = {
  SubscriptionDocument: object(subscriptionDocument, ['target'], closed),
  Subscription: subscription,
  SubscriptionPage: object({ items: { type: 'array', items: ref('Subscription') }, next: maybe(text) }),
  OpenEventPage: object({
    items: {
      type: 'array',
      items: object({
        ...takenEvent,
        state: { type: 'string', enum: ['waiting', 'sending', 'held'] },
        worker: maybe(text),
        nextAt: maybe(time),
        expiresAt: { ...maybe(time), description: 'When its lease ends.' },
      }),
    },
    next: maybe(text),
  }),
  DeadLetterPage: object({
    items: { type: 'array', items: object({ ...takenEvent, event: maybe(ref('CloudEvent')) }) },
    next: maybe(text),
  }),
  Redrive: object(
    { positions: { type: 'array', items: whole(1), maxItems: 1000, description: 'Absent: all.' } },
    [],
    closed,
  ),
  Redriven: object({ redriven: whole(0) }),
  Removed: object({ removed: whole(0) }),
  Nack: nack,
  EventLeaseRequest: object(
    {
      worker: { type: 'string', description: 'Name of the worker, shown with what it holds.' },
      max: { ...whole(1, 1000), default: 1 },
      waitSeconds: {
        type: 'number',
        minimum: 0,
        default: 0,
        description: 'How long to wait for an event; capped at 50.',
      },
      leaseSeconds: {
        type: 'number',
        exclusiveMinimum: 0,
        maximum: 86400,
        description: "Default: the subscription's lease.",
      },
      settle: {
        type: 'array',
        maxItems: 1000,
        description:
          'Answers of earlier leases, recorded in one commit before new ones are handed out; one of ack, nack, release each.',
        items: object({ token: text, ack: { const: true }, nack, release: { const: true } }, ['token'], closed),
      },
    },
    [],
    closed,
  ),
  EventLeaseResponse: object(
    {
      settled: { type: 'array', items: object({ status: whole(200, 599), code: text, detail: text }, ['status']) },
      leases: {
        type: 'array',
        items: object({
          token: text,
          position: whole(1),
          topic: text,
          attempt: whole(1),
          lastAttempt: { type: 'boolean', description: 'A nack of this one gives it up.' },
          expiresAt: time,
          event: ref('CloudEvent'),
        }),
      },
      reset: {
        ...object({ from: whole(0), to: whole(0) }),
        description: 'Its topics have lost events between these positions that it had not read yet.',
      },
    },
    ['settled', 'leases'],
  ),
  CloudEvent: cloudEvent,
  TopicSettings: object(topicSettings, [], closed),
  Topic: object(topic),
  TopicPage: object({ items: { type: 'array', items: ref('Topic') }, next: maybe(text) }),
  Published: object(
    {
      ids: { type: 'array', items: text, description: 'The id of each event, in the order they came in.' },
      positions: { type: 'array', items: whole(1), description: 'Where each stands in the history of the namespace.' },
      repeated: {
        type: 'array',
        items: { type: 'boolean' },
        description: 'Which of them were there already, with the same source and id; absent where none was.',
      },
    },
    ['ids', 'positions'],
  ),
  EventPage: object(
    {
      items: { type: 'array', items: object({ position: whole(1), topic: text, event: ref('CloudEvent') }) },
      next: { ...maybe(text), description: 'For `after`, where there is more now.' },
      cursor: { type: 'string', description: 'For `after`, later: the place behind all that was looked at.' },
      reset: {
        ...object({
          reason: { type: 'string', enum: ['removed', 'history'] },
          from: whole(0),
          to: whole(0),
          detail: text,
        }),
        description:
          'Only where `after` could not be kept to: events behind it are gone, or it is no place of this history.',
      },
    },
    ['items', 'next', 'cursor'],
  ),
  OperationReceipt: object(receipt),
  Operation: object(
    operation,
    Object.keys(operation).filter((name) => name !== 'result'),
  ),
  OperationPage: object({ items: { type: 'array', items: ref('Operation') }, next: maybe(text) }),
  ResultEnvelope: object({ status: whole(100, 599), headers: headerValues, ...envelopeBody }, ['status', 'headers']),
  Timeline: object({
    items: {
      type: 'array',
      items: object(
        {
          type: { type: 'string', enum: ['accepted', 'attempt', 'progress', 'finished', 'delivery'] },
          at: time,
          delivery: { type: 'string', description: 'Id of the delivery: GET /v1/deliveries/{id}.' },
          attempt: whole(0),
          endedAt: maybe(time),
          worker: maybe(text),
          outcome: maybe(text),
          backendStatus: maybe(whole(100, 599)),
          detail: maybe(text),
          nextAt: maybe(time),
          status: text,
          progress: object({ sequence: whole(1), ...progress }, ['sequence']),
        },
        ['type', 'at'],
      ),
    },
    next: maybe(text),
  }),
  OperationEvent: object(
    {
      eventId: text,
      type: { type: 'string', enum: operationEventKinds.map((kind) => `waitless.operation.${kind}`) },
      id: text,
      service: text,
      correlationId: text,
      status: operation['status']!,
      done: { type: 'boolean' },
      version: whole(1),
      updatedAt: time,
      attempt: whole(0),
      runAt: maybe(time),
      lastAttempt: object({
        attempt: whole(0),
        outcome: maybe(text),
        backendStatus: maybe(whole(100, 599)),
        detail: maybe(text),
      }),
      startedAt: maybe(time),
      progress: object({ sequence: whole(1), ...progress }, ['sequence']),
      finishedAt: time,
      expiresAt: maybe(time),
      resourceLocation: { type: 'string', format: 'uri' },
      error: operation['error']!,
    },
    ['eventId', 'type', 'id', 'service', 'correlationId', 'status', 'done', 'version', 'updatedAt', 'attempt'],
  ),
  OperationEventPage: object({ items: { type: 'array', items: ref('OperationEvent') }, next: maybe(text) }),
  ServicePage: object({
    items: {
      type: 'array',
      items: object({
        name: text,
        target: { type: 'string', enum: ['http', 'pull'] },
        mode: { type: 'string', enum: ['async', 'sync'] },
        source: { type: 'string', enum: ['config', 'api'] },
        counts: object({
          queued: whole(0),
          running: whole(0),
          succeeded: whole(0),
          failed: whole(0),
          cancelled: whole(0),
        }),
        recent: object({ p50Ms: maybe(whole(0)), p90Ms: maybe(whole(0)), perMinute: whole(0) }),
      }),
    },
    next: maybe(text),
  }),
  Service: object(
    {
      target: object(
        {
          url: { type: 'string', format: 'uri' },
          headers: { type: 'object', additionalProperties: text },
          pull: { const: true },
        },
        [],
      ),
    },
    ['target'],
    {
      description: 'The same document as in the config file; every field is in docs/configuration.md.',
      additionalProperties: true,
    },
  ),
  ServiceDocument: object({
    name: text,
    source: { type: 'string', enum: ['config', 'api'] },
    savedAt: maybe(time),
    document: ref('Service'),
  }),
  TokenRequest: object(
    {
      operations: {
        type: 'array',
        items: text,
        minItems: 1,
        maxItems: 100,
        description: 'Ids of operations of your namespace.',
      },
      topics: {
        type: 'array',
        items: text,
        minItems: 1,
        maxItems: 100,
        description:
          'Names or patterns of topics. With a pattern it opens that, and each topic that it matches; 1,024 characters in all, and each operation leaves 24 fewer of 2,400.',
      },
      expiresIn: {
        description: 'How long the token is good for: a duration such as `15m`, or seconds; at most an hour.',
        anyOf: [text, { type: 'number', exclusiveMinimum: 0, maximum: 3600 }],
        default: '15m',
      },
    },
    [],
    closed,
  ),
  Token: object({
    token: { type: 'string', description: 'A secret until it expires. For `?token=`, as it is.' },
    expiresAt: time,
  }),
  Backup: object({
    state: { type: 'string', enum: ['running', 'done', 'failed'] },
    file: { ...maybe(text), description: "Path on the server's side." },
    bytes: maybe(whole(0)),
    startedAt: time,
    createdAt: maybe(time),
    copiedBytes: whole(0),
    totalBytes: maybe(whole(0)),
    error: maybe(object({ code: text, message: text })),
  }),
  Delivery: object(delivery),
  DeliveryPage: object({ items: { type: 'array', items: ref('Delivery') }, next: maybe(text) }),
  DeliveryWithAttempts: object({ ...delivery, attempts: { type: 'array', items: deliveryAttempt } }),
  CallbackSecretPage: object({
    items: {
      type: 'array',
      maxItems: 2,
      description: 'Newest first.',
      items: object({
        id: text,
        createdAt: time,
        ageSeconds: whole(0),
        validUntil: { ...maybe(time), description: 'When an older one stops signing; null for the newest.' },
        readable: { type: 'boolean', description: "False: sealed with another key than the server's." },
      }),
    },
    next: { type: 'null' },
  }),
  RotateRequest: object(
    {
      overlapHours: {
        type: 'number',
        minimum: 0,
        maximum: 168,
        default: 24,
        description: 'How long the one before goes on; 0 ends it at once.',
      },
    },
    [],
    closed,
  ),
  RotatedSecret: object({
    id: text,
    secret: { type: 'string', description: 'Shown in this answer and nowhere else.' },
    createdAt: time,
    previous: maybe(object({ id: text, validUntil: time })),
  }),
  BatchRequest: {
    type: 'array',
    maxItems: mostBatchItems,
    description: 'Each item is what a request to /v1/call/{service}{path}?{query} of its own would be.',
    items: ref('BatchItem'),
  },
  BatchItem: object(
    {
      service: text,
      method: { type: 'string', default: 'POST' },
      path: { type: 'string', description: 'Below the service, beginning with a slash.', default: '' },
      query: { type: 'string', description: 'Without the question mark, percent-encoded.', default: '' },
      headers: headerValues,
      ...envelopeBody,
    },
    ['service'],
    closed,
  ),
  BatchResponse: { type: 'array', description: 'One outcome for each item, in order.', items: ref('BatchOutcome') },
  BatchOutcome: object(
    {
      status: {
        ...whole(200, 599),
        description: '202 accepted, 200 a stored result exists, else that of the problem.',
      },
      operation: ref('OperationReceipt'),
      replayed: { const: true, description: 'The Idempotency-Key was known: what its first use was told.' },
      stored: { const: true, description: 'Answered from the store: the result is at resourceLocation.' },
      age: { ...whole(0), description: 'Seconds since that result was stored.' },
      cacheStatus: { type: 'string', description: 'Cache-Status (RFC 9211), for a request with a business key.' },
      problem: ref('Problem'),
      retryAfter: {
        ...whole(1),
        description: 'Seconds after which to ask for the operation, or to send a refused item again.',
      },
    },
    ['status'],
  ),
  LeaseRequest: object(
    {
      worker: { type: 'string', description: 'Name of the worker, shown in the timeline.' },
      max: { ...whole(1, 1000), default: 1 },
      waitSeconds: { type: 'number', minimum: 0, default: 0, description: 'How long to wait for work; capped at 50.' },
      leaseSeconds: {
        type: 'number',
        exclusiveMinimum: 0,
        maximum: 86400,
        description: "Default: the service's lease.",
      },
      settle: {
        type: 'array',
        maxItems: 1000,
        description: 'Answers of earlier leases, recorded in one commit before new ones are handed out.',
        items: object(
          {
            token: text,
            reply: object({ status: whole(200, 599), headers: headerValues, ...envelopeBody }, [], closed),
            fail: ref('Fail'),
            release: { const: true },
          },
          ['token'],
          closed,
        ),
      },
    },
    [],
    closed,
  ),
  LeaseResponse: object({
    settled: { type: 'array', items: object({ status: whole(200, 599), code: text, detail: text }, ['status']) },
    leases: {
      type: 'array',
      items: object({
        token: text,
        operation: object({
          id: text,
          correlationId: text,
          service: text,
          labels: { type: 'object', additionalProperties: text },
          createdAt: time,
        }),
        request: object({ method: text, path: text, query: text, headers: headerValues, ...envelopeBody }, [
          'method',
          'path',
          'query',
          'headers',
        ]),
        attempt: whole(1),
        lastAttempt: { type: 'boolean' },
        deadline: maybe(time),
        expiresAt: time,
      }),
    },
  }),
  Fail: fail,
  Extend: object({ leaseSeconds: { type: 'number', exclusiveMinimum: 0, maximum: 86400 } }, [], closed),
  Progress: object(progress, [], closed),
  LeaseState: object(
    { expiresAt: time, progress: object({ sequence: whole(1) }, ['sequence'], { additionalProperties: true }) },
    ['expiresAt'],
  ),
  Settled: object({ status: { type: 'string' } }, ['status']),
  Health: object({ status: { type: 'string' } }, ['status'], { additionalProperties: true }),
  Problem: object(
    {
      type: { type: 'string', description: 'URL under /problems/ that explains the code.' },
      title: text,
      status: whole(400, 599),
      detail: text,
      instance: text,
      code: text,
      accepted: { type: 'boolean' },
      errors: { type: 'array', items: object({ pointer: text, detail: text }) },
    },
    ['type', 'title', 'status', 'code'],
    { additionalProperties: true },
  ),
};
