// Schemas of leases and of what workers answer them with.
import { closed, maybe, object, ref, type Schema, text, time, whole } from '../schema.ts';
import { envelopeBody, headerValues, progress } from './shared.ts';

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

export const workerSchemas: Readonly<Record<string, Schema>> = {
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
};
