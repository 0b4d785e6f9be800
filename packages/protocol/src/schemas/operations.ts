// Schemas of operations: receipt, state, result, history, and the tokens that open them to a browser.
import { operationEventKinds } from '../operation.ts';
import { closed, maybe, object, ref, type Schema, text, time, whole } from '../schema.ts';
import { envelopeBody, headerValues, progress } from './shared.ts';

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

export const operationSchemas: Readonly<Record<string, Schema>> = {
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
};
