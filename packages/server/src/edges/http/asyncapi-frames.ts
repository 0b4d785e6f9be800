// The frames of the WebSocket as the AsyncAPI document tells of them: a schema and an example for each type, the examples held to the protocol's types.
import {
  type ClientFrame,
  errorTable,
  type EventFrame,
  type EventLeaseFrame,
  type LeaseFrame,
  type OperationReceipt,
  type ResetFrame,
  schemas,
  type ServerFrame,
  streamLimits,
  type SubscriptionResetFrame,
  type WorkSubscriptionFrame,
} from '@waitless/protocol';
import { eventExamples } from './asyncapi-messages.ts';
import type { Fields } from './openapi-details.ts';
import { bodyExamples } from './openapi-examples.ts';
import { component } from './openapi-problems.ts';

type ClientType = ClientFrame['type'];
type ServerType = ServerFrame['type'];
type Examples<Frame extends { type: string }> = { readonly [T in Frame['type']]: Extract<Frame, { type: T }> };

interface Told {
  readonly summary: string;
  /** Besides `type` and `ref`. */
  readonly properties: Fields;
  readonly required?: readonly string[];
  /** Members of which one set has to be there as well. */
  readonly eitherOf?: readonly (readonly string[])[];
}

const text: Fields = { type: 'string' };
const token: Fields = { type: 'string', description: 'Of the lease that is answered.' };
const whole = (minimum: number): Fields => ({ type: 'integer', minimum });
const orNull = (schema: Fields): Fields => ({ anyOf: [schema, { type: 'null' }] });
const ids: Fields = { type: 'array', items: text, minItems: 1, maxItems: streamLimits.watchOperations };
const topics: Fields = {
  type: 'array',
  items: text,
  minItems: 1,
  maxItems: 100,
  description: 'Names or patterns: `*` is one word, `**` any number.',
};
const events: Fields = { type: 'string', enum: ['all', 'end'], description: '`end`: the last event alone.' };
const include: Fields = { const: 'result', description: 'The result of at most 64 KB comes with the last event.' };
const result: Fields = orNull(component('schemas', 'ResultEnvelope'));

interface Shape {
  readonly properties: Fields;
}
const properties = (name: string): Fields => (schemas[name] as unknown as Shape).properties;
const leaseRequest = properties('LeaseRequest');
const { reply } = (leaseRequest['settle'] as { items: { properties: { reply: Shape } } }).items.properties;
const lease = (properties('LeaseResponse')['leases'] as { items: Shape }).items.properties;
const eventLease = (properties('EventLeaseResponse')['leases'] as { items: Shape }).items.properties;
const { status: _, problem: __, ...outcome } = properties('BatchOutcome');

/** What a client sends. */
const clientFrames: Readonly<Record<ClientType, Told>> = {
  submit: {
    summary: 'Hand a request to a service, and with `watch` be told what becomes of it.',
    properties: { ...properties('BatchItem'), watch: events, include },
    required: ['service'],
  },
  watch: {
    summary: 'Be told what becomes of operations, or what is published to topics.',
    properties: {
      operations: ids,
      topics,
      after: {
        anyOf: [{ type: 'object', additionalProperties: text }, text, whole(0)],
        description:
          'Of operations: operation → id of the last event of it that is known. Of topics: the id of the last event that is known, or a position. Only later ones are told.',
      },
      filter: { description: 'Of topics: a filter as of a subscription.' },
      events,
      include,
    },
  },
  unwatch: {
    summary: 'Be told no more of these operations or topics.',
    properties: {
      operations: ids,
      topics,
      watch: { type: 'string', description: 'Only what this `ref` began to watch.' },
    },
  },
  publish: {
    summary: 'Publish an event to a topic, or several in one commit.',
    properties: {
      topic: text,
      event: component('schemas', 'CloudEvent'),
      events: { type: 'array', items: component('schemas', 'CloudEvent') },
    },
    required: ['topic'],
  },
  cancel: { summary: 'Cancel an operation.', properties: { id: text }, required: ['id'] },
  work: {
    summary:
      'Take work of a service, or events of a pull subscription, no more at once than the credits; 0 takes no more.',
    properties: {
      service: text,
      subscription: text,
      credits: { type: 'integer', minimum: 0, maximum: streamLimits.credits },
      leaseSeconds: leaseRequest['leaseSeconds'],
      worker: leaseRequest['worker'],
    },
    required: ['credits'],
    eitherOf: [['service'], ['subscription']],
  },
  reply: { summary: 'The result of a lease.', properties: { token, ...reply.properties }, required: ['token'] },
  fail: {
    summary: 'This attempt failed.',
    properties: { token, ...properties('Fail') },
    required: ['token', 'code', 'message'],
  },
  ack: { summary: 'The event is done with.', properties: { token }, required: ['token'] },
  nack: {
    summary: 'The event is not done: it comes again, or becomes a dead letter.',
    properties: { token, ...properties('Nack') },
    required: ['token'],
  },
  progress: {
    summary: 'How far it is; also extends the lease.',
    properties: { token, ...properties('Progress') },
    required: ['token'],
  },
  extend: { summary: 'Keep a lease longer.', properties: { token, ...properties('Extend') }, required: ['token'] },
  release: { summary: 'Give work or an event back; uses no attempt.', properties: { token }, required: ['token'] },
  ping: { summary: 'Ask for a sign of life.', properties: {} },
};

/** What the server sends. */
const serverFrames: Readonly<Record<ServerType, Told>> = {
  accepted: {
    summary: 'There is an operation for a submit; none for durability `none`.',
    properties: { ...outcome, result },
  },
  event: {
    summary:
      'Something happened to an operation that is watched, the last one of each last; or was published to a topic that is, then with `topic` and `position`.',
    properties: {
      id: text,
      topic: text,
      position: whole(1),
      event: { anyOf: [component('schemas', 'OperationEvent'), component('schemas', 'CloudEvent')] },
      result,
    },
    required: ['id', 'event'],
  },
  reset: {
    summary:
      'Events cannot go on from where the client wanted: where the operation stands, or what topics have lost, for who watches them or for a subscription.',
    properties: {
      id: text,
      detail: text,
      operation: component('schemas', 'Operation'),
      topics,
      reason: { type: 'string', enum: ['removed', 'history'] },
      subscription: text,
      from: whole(0),
      to: whole(0),
    },
    eitherOf: [
      ['id', 'detail', 'operation'],
      ['id', 'detail', 'topics', 'reason', 'from', 'to'],
      ['subscription', 'from', 'to'],
    ],
  },
  lease: {
    summary: 'Work, or an event of a subscription, for a worker with credits left.',
    properties: { ...lease, ...eventLease },
    eitherOf: [Object.keys(lease), Object.keys(eventLease)],
  },
  ok: {
    summary: 'What was asked for is done.',
    properties: {
      status: { type: 'string', enum: ['recorded', 'repeated'] },
      id: { type: 'string', description: 'The newest place of topics that are watched.' },
      ids: { type: 'array', items: text },
      positions: { type: 'array', items: whole(1) },
      repeated: { type: 'array', items: { type: 'boolean' } },
      operation: component('schemas', 'Operation'),
      expiresAt: { type: 'string', format: 'date-time' },
      progress: {
        type: 'object',
        properties: { sequence: whole(1), ...properties('Progress') },
        required: ['sequence'],
      },
    },
  },
  error: {
    summary: 'What was asked for is not done; without `ref`, a message could not be read.',
    properties: {
      problem: component('schemas', 'Problem'),
      id: { type: 'string', description: 'The operation that cannot be watched.' },
      token,
      retryAfter: whole(1),
    },
    required: ['problem'],
  },
  pong: { summary: 'A sign of life.', properties: {} },
};

/** What answers a frame, where it is not `ok` or `error`. */
const otherAnswers: Partial<Record<ClientType, readonly ServerType[]>> = {
  submit: ['accepted', 'error'],
  ping: ['pong'],
};

const frameMessage = (type: ClientType | ServerType): string => `${type}Frame`;
const keysOf = <T extends string>(record: Readonly<Record<T, unknown>>): T[] => Object.keys(record) as T[];

export const clientMessages: readonly string[] = keysOf(clientFrames).map(frameMessage);
export const serverMessages: readonly string[] = keysOf(serverFrames).map(frameMessage);
/** Each frame that a client sends with the messages that may answer it. */
export const exchanges: readonly { type: string; message: string; answers: readonly string[] }[] = keysOf(
  clientFrames,
).map((type) => ({
  type,
  message: frameMessage(type),
  answers: (otherAnswers[type] ?? ['ok', 'error']).map(frameMessage),
}));

/** Of types with a second form, an example of that. */
interface OtherExamples {
  work: WorkSubscriptionFrame;
  reset: SubscriptionResetFrame;
  lease: EventLeaseFrame;
}

function otherExamples(base: string): OtherExamples {
  const { leases } = bodyExamples(base)['EventLeaseResponse'] as unknown as { leases: Omit<EventLeaseFrame, 'type'>[] };
  return {
    work: { type: 'work', ref: '9', subscription: 'order-history', credits: 16 },
    reset: { type: 'reset', ref: '9', subscription: 'order-history', from: 17, to: 40 },
    lease: { type: 'lease', ref: '9', ...leases[0]! },
  };
}

function clientExamples(id: string): Examples<ClientFrame> {
  const of = { token: 'TOKEN' };
  return {
    submit: {
      type: 'submit',
      ref: '1',
      service: 'score',
      headers: { 'Content-Type': 'application/json' },
      body: '{"customerId":42}',
      watch: 'all',
      include: 'result',
    },
    watch: { type: 'watch', ref: '2', operations: [id], after: { [id]: `${id}_3` }, events: 'all' },
    unwatch: { type: 'unwatch', ref: '3', operations: [id], watch: '2' },
    publish: {
      type: 'publish',
      ref: '8',
      topic: 'orders.placed',
      event: { specversion: '1.0', id: 'order-7', source: '/shop', type: 'order.placed', data: { order: 7 } },
    },
    cancel: { type: 'cancel', ref: '4', id },
    work: { type: 'work', ref: '5', service: 'score', credits: 16, leaseSeconds: 60, worker: 'worker-1' },
    reply: {
      type: 'reply',
      ...of,
      status: 200,
      headers: { 'Content-Type': 'application/json' },
      body: '{"score":712}',
    },
    fail: { type: 'fail', ...of, code: 'bureau-unavailable', message: 'The bureau did not answer.', retry: true },
    ack: { type: 'ack', ...of },
    nack: { type: 'nack', ...of, retryAfter: '10s', message: 'the kitchen is closed' },
    progress: { type: 'progress', ...of, stage: 'bureaus', percent: 66, message: '2 of 3 bureaus have answered' },
    extend: { type: 'extend', ref: '6', ...of, leaseSeconds: 60 },
    release: { type: 'release', ...of },
    ping: { type: 'ping', ref: '7' },
  };
}

function serverExamples(base: string): Examples<ServerFrame> {
  const bodies = bodyExamples(base) as unknown as {
    OperationReceipt: OperationReceipt;
    LeaseResponse: { leases: Omit<LeaseFrame, 'type'>[] };
  };
  const { succeeded, reset } = eventExamples(base) as unknown as {
    succeeded: EventFrame['event'];
    reset: Pick<ResetFrame, 'detail' | 'operation'>;
  };
  const answer = {
    status: 200,
    headers: [['content-type', 'application/json'] as [string, string]],
    body: { score: 712 },
  };
  const { title } = errorTable['not-found'];
  return {
    accepted: { type: 'accepted', ref: '1', operation: bodies.OperationReceipt, retryAfter: 3 },
    event: { type: 'event', ref: '1', id: succeeded.eventId, event: succeeded, result: answer },
    reset: { ...reset, type: 'reset', ref: '2', id: reset.operation.eventId },
    lease: { type: 'lease', ref: '5', ...bodies.LeaseResponse.leases[0]! },
    ok: { type: 'ok', ref: '6', expiresAt: '2026-01-05T10:01:00.000Z' },
    error: {
      type: 'error',
      ref: '4',
      problem: { type: `${base}/problems/not-found`, title, status: 404, detail: title, code: 'not-found' },
    },
    pong: { type: 'pong', ref: '7' },
  };
}

/** One message for each type of frame. */
export function frameMessages(base: string): Record<string, Fields> {
  const { id } = bodyExamples(base)['Operation'] as { id: string };
  const ref: Fields = {
    type: 'string',
    maxLength: streamLimits.refCharacters,
    description: "The client's own name for what it asks; on everything that answers it.",
  };
  const others: Readonly<Partial<Record<ClientType | ServerType, unknown>>> = otherExamples(base);
  const message = (type: ClientType | ServerType, told: Told, more: Fields, example: unknown): [string, Fields] => [
    frameMessage(type),
    {
      name: type,
      summary: told.summary,
      contentType: 'application/json',
      payload: {
        type: 'object',
        properties: { type: { const: type }, ref, ...told.properties },
        required: ['type', ...(told.required ?? [])],
        ...(told.eitherOf ? { anyOf: told.eitherOf.map((required) => ({ required })) } : {}),
        ...more,
      },
      examples: [
        { name: type, payload: example },
        ...(type in others ? [{ name: `${type} of a subscription`, payload: others[type] }] : []),
      ],
    },
  ];
  const asked = clientExamples(id);
  const told = serverExamples(base);
  return Object.fromEntries([
    ...keysOf(clientFrames).map((type) =>
      message(type, clientFrames[type], { additionalProperties: false }, asked[type]),
    ),
    ...keysOf(serverFrames).map((type) => message(type, serverFrames[type], {}, told[type])),
  ]);
}
