// The messages of the AsyncAPI document: events of operations as they stand in a stream, and the requests that open one.
import { headerTable, operationEventKinds } from '@waitless/protocol';
import { type Fields, headerDetails } from './openapi-details.ts';
import { bodyExamples } from './openapi-examples.ts';
import { component } from './openapi-problems.ts';

/** What stands in the `event` field of a stream: every kind, and what comes in the place of events that cannot be told. */
export const toldKinds = [...operationEventKinds, 'reset'] as const;
export type ToldKind = (typeof toldKinds)[number];

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
/** Name of the message that tells this. */
export const eventMessage = (kind: ToldKind): string => `operation${capital(kind)}`;

export const summaries: Readonly<Record<ToldKind, string>> = {
  queued: 'It waits to be started: accepted, or put off to a further attempt.',
  running: 'An attempt has begun, or the backend answers later.',
  progress: 'Whoever works on it reports how far it is.',
  succeeded: 'It has ended with a result. The last event.',
  failed: 'It has ended without success; `error` says why. The last event.',
  cancelled: 'It was cancelled. The last event.',
  reset:
    'The events that follow the place asked for cannot be told: where the operation stands now. Events go on from there.',
};

const time = '2026-01-05T10:00:04.000Z';

/** An event of each kind as it travels; `base` is the URL of the server. */
export function eventExamples(base: string): Readonly<Record<ToldKind, Fields & { eventId?: string }>> {
  const operation = bodyExamples(base)['Operation'] as Fields & {
    id: string;
    eventId: string;
    resourceLocation: string;
  };
  const { id, resourceLocation } = operation;
  const event = (kind: ToldKind, version: number, more: Fields): Fields => ({
    eventId: `${id}_${version}`,
    type: `waitless.operation.${kind}`,
    id,
    service: 'score',
    correlationId: 'conversation-42',
    status: kind === 'progress' ? 'running' : kind,
    done: version === 4,
    version,
    updatedAt: time,
    attempt: version === 1 ? 0 : 1,
    ...more,
  });
  const end = { runAt: null, finishedAt: time, expiresAt: '2026-01-06T10:00:04.000Z', resourceLocation };
  return {
    queued: event('queued', 1, { runAt: null }),
    running: event('running', 2, { startedAt: time, runAt: null }),
    progress: event('progress', 3, { progress: { sequence: 1, stage: 'bureaus', percent: 66 } }),
    succeeded: event('succeeded', 4, { ...end, error: null }),
    failed: event('failed', 4, {
      ...end,
      error: {
        code: 'timed-out',
        message: 'The operation did not end in its time.',
        type: `${base}/problems/timed-out`,
      },
    }),
    cancelled: event('cancelled', 4, {
      ...end,
      error: { code: 'cancelled', message: 'The operation was cancelled.', type: `${base}/problems/cancelled` },
    }),
    reset: { type: 'reset', detail: 'the event id is none of this operation', operation },
  };
}

const schemaOf = (kind: ToldKind): Fields =>
  kind === 'reset'
    ? component('schemas', 'OperationReset')
    : {
        allOf: [
          component('schemas', 'OperationEvent'),
          { type: 'object', properties: { type: { const: `waitless.operation.${kind}` } } },
        ],
      };

const text: Fields = { type: 'string' };
export const object = (properties: Fields, required = Object.keys(properties)): Fields => ({
  type: 'object',
  properties,
  required,
});

/** Schemas that only streams have. */
export const eventSchemas: Fields = {
  OperationReset: object({
    type: { const: 'reset' },
    detail: { type: 'string', description: 'Why, in a sentence.' },
    operation: component('schemas', 'Operation'),
  }),
  StreamReset: object({
    type: { const: 'reset' },
    detail: { type: 'string', description: 'Why, in a sentence.' },
    operations: { type: 'array', items: component('schemas', 'Operation') },
  }),
};

/** One message for each kind of event: the fields of Server-Sent Events stand as its headers, what `data` holds as its payload. */
export function eventMessages(base: string): Record<string, Fields> {
  const examples = eventExamples(base);
  const operation = examples.reset['operation'] as { eventId: string };
  return Object.fromEntries(
    toldKinds.map((kind) => [
      eventMessage(kind),
      {
        name: kind,
        summary: summaries[kind],
        contentType: 'application/json',
        headers: object({
          id: {
            type: 'string',
            description:
              'For `Last-Event-ID`. In the events of one operation the `eventId` of its status at that version, in those of several a place in all of them.',
          },
          event: { const: kind },
        }),
        payload: schemaOf(kind),
        examples: [
          {
            name: kind,
            headers: { id: examples[kind].eventId ?? operation.eventId, event: kind },
            payload: examples[kind],
          },
        ],
      },
    ]),
  );
}

/** In the place of events that a stream of several operations cannot tell. */
export function streamResetMessage(base: string): Fields {
  const { operation, ...rest } = eventExamples(base).reset;
  return {
    name: 'reset',
    summary: summaries.reset,
    contentType: 'application/json',
    headers: object({ id: text, event: { const: 'reset' } }),
    payload: component('schemas', 'StreamReset'),
    examples: [
      { name: 'reset', headers: { id: 'CURSOR', event: 'reset' }, payload: { ...rest, operations: [operation] } },
    ],
  };
}

/** Schema and example of a request's fields, by the header table. */
export function requestFields(
  names: readonly string[],
  required: readonly string[] = [],
): [schema: Fields, example: Fields] {
  const entries = names.map((name) => {
    const entry = headerTable.find((one) => one.direction === 'request' && one.name === name);
    const { schema, example } = headerDetails[name] ?? { schema: text };
    return [name, { ...schema, ...(entry ? { description: entry.summary } : {}) }, example] as const;
  });
  return [
    object(Object.fromEntries(entries.map(([name, schema]) => [name, schema])), [...required]),
    Object.fromEntries(entries.flatMap(([name, , example]) => (example === undefined ? [] : [[name, example]]))),
  ];
}

/** The body of a submit: it is somebody else's. */
export const anyBody: Fields = { payload: { description: 'Any bytes of any media type.' } };

/** A GET that opens a stream of events. */
export function openingMessage(summary: string, names: readonly string[]): Fields {
  const [fields, example] = requestFields(names);
  const accept = { const: 'text/event-stream' };
  return {
    summary,
    headers: object({ Accept: accept, ...(fields['properties'] as Fields) }, ['Accept']),
    examples: [{ name: 'going on', headers: { Accept: 'text/event-stream', ...example }, payload: null }],
    payload: { type: 'null', description: 'No body.' },
  };
}
