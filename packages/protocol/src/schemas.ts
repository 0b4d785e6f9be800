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

const cloudEvent: Schema = {
  type: 'object',
  description: 'CloudEvents 1.0 in JSON. `data` is what was published, byte for byte where it is JSON; `data_base64` where it is no text.',
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

export const schemas: Readonly<Record<string, Schema>> = {
  CloudEvent: cloudEvent,
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
        description: 'Only where `after` could not be kept to: events behind it are gone, or it is no place of this history.',
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
      expiresIn: {
        description: 'How long the token is good for: a duration such as `15m`, or seconds; at most an hour.',
        anyOf: [text, { type: 'number', exclusiveMinimum: 0, maximum: 3600 }],
        default: '15m',
      },
    },
    ['operations'],
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
