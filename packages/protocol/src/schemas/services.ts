// Schemas of services.
import { maybe, object, ref, type Schema, text, time, whole } from '../schema.ts';

export const serviceSchemas: Readonly<Record<string, Schema>> = {
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
};
