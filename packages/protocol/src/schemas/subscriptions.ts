// Schemas of subscriptions, of what they have taken, and of the events that are pulled.
import { closed, maybe, object, ref, type Schema, text, time, whole } from '../schema.ts';

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

export const subscriptionSchemas: Readonly<Record<string, Schema>> = {
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
};
