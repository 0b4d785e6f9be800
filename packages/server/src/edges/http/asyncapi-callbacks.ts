// Callbacks as the AsyncAPI document tells of them: the submit that asks for one, and the signed notices that come of it.
import { type OperationEventKind, operationEventKinds, routes, webhookHeaders } from '@waitless/protocol';
import { anyBody, eventExamples, eventMessage, object, requestFields, summaries } from './asyncapi-messages.ts';
import type { Fields } from './openapi-details.ts';
import { bodyExamples } from './openapi-examples.ts';
import { component } from './openapi-problems.ts';

/** What a callback tells: progress where it is asked for, and the end. */
const toldKinds = operationEventKinds.filter((kind) => kind !== 'queued' && kind !== 'running');
const noticeMessage = (kind: OperationEventKind): string => eventMessage(kind).replace('operation', 'notice');
export const noticeMessages: readonly string[] = toldKinds.map(noticeMessage);

const text: Fields = { type: 'string' };

/** Schemas that only callbacks have. */
export const callbackSchemas: Fields = {
  Notice: object({
    specversion: { const: '1.0' },
    id: { type: 'string', description: 'The event id: the same on every attempt, and on every other outlet.' },
    source: { type: 'string', format: 'uri' },
    type: text,
    subject: { type: 'string', description: 'The operation id.' },
    time: { type: 'string', format: 'date-time' },
    datacontenttype: { const: 'application/json' },
    data: {
      allOf: [
        component('schemas', 'OperationEvent'),
        {
          type: 'object',
          properties: {
            result: {
              anyOf: [component('schemas', 'ResultEnvelope'), { type: 'null' }],
              description: 'At the end: the result, where it has at most 64 KB and `Callback-Body` is not `thin`.',
            },
          },
        },
      ],
    },
  }),
};

const signed = object({
  'Content-Type': { const: 'application/cloudevents+json' },
  [webhookHeaders.id]: { type: 'string', description: 'The event id; the same on every attempt.' },
  [webhookHeaders.timestamp]: { type: 'string', description: 'Seconds since 1970, of this attempt.' },
  [webhookHeaders.signature]: {
    type: 'string',
    description: 'Standard Webhooks: `v1,` and a signature in base64 for each secret in use, with spaces between.',
  },
});

/** Notices as they are posted, and the submit that asks for them. */
export function callbackMessages(base: string): Record<string, Fields> {
  const events = eventExamples(base);
  const result = bodyExamples(base)['ResultEnvelope'];
  const notice = (kind: OperationEventKind): Fields => {
    const event = events[kind] as Fields & { eventId: string };
    const headers = {
      'Content-Type': 'application/cloudevents+json',
      [webhookHeaders.id]: event.eventId,
      [webhookHeaders.timestamp]: '1767607204',
      [webhookHeaders.signature]: 'v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=',
    };
    const payload = {
      specversion: '1.0',
      id: event.eventId,
      source: `${base}/v1/operations`,
      type: event['type'],
      subject: event['id'],
      time: event['updatedAt'],
      datacontenttype: 'application/json',
      data: kind === 'succeeded' ? { ...event, result } : event,
    };
    return {
      name: kind,
      title: `Notice: ${kind}`,
      summary: summaries[kind],
      contentType: 'application/cloudevents+json',
      headers: signed,
      payload: {
        allOf: [
          component('schemas', 'Notice'),
          { type: 'object', properties: { type: { const: `waitless.operation.${kind}` } } },
        ],
      },
      examples: [{ name: kind, headers, payload }],
    };
  };
  const [headers, example] = requestFields(routes.call.headers, ['Callback-Url']);
  const asked = Object.fromEntries(Object.entries(example).filter(([name]) => name.startsWith('Callback-')));
  return {
    submitWithCallback: {
      summary: 'A request that asks for signed notices of what becomes of it.',
      headers,
      ...anyBody,
      examples: [{ name: 'callback', headers: asked, payload: { customerId: 42 } }],
    },
    ...Object.fromEntries(toldKinds.map((kind) => [noticeMessage(kind), notice(kind)])),
  };
}
