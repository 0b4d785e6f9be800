// Schemas of callbacks: what became of each, and the secrets they are signed with.
import { deliveryStates } from '../delivery.ts';
import { closed, maybe, object, ref, type Schema, text, time, whole } from '../schema.ts';

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

export const callbackSchemas: Readonly<Record<string, Schema>> = {
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
};
