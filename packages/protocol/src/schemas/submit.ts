// Schemas of what takes many requests in at once.
import { mostBatchItems } from '../batch.ts';
import { closed, object, ref, type Schema, text, whole } from '../schema.ts';
import { envelopeBody, headerValues } from './shared.ts';

export const submitSchemas: Readonly<Record<string, Schema>> = {
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
};
