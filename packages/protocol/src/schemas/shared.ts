// What schemas of several areas have in common.
import { type Schema, text } from '../schema.ts';

export const envelopeBody: Record<string, Schema> = {
  body: { description: 'A string is its UTF-8 bytes; any other JSON value is its source text, verbatim.' },
  bodyBase64: { type: 'string', contentEncoding: 'base64' },
};

export const headerValues: Schema = {
  description: 'An object, or a list of [name, value] pairs where a name stands twice.',
  anyOf: [
    { type: 'object', additionalProperties: text },
    { type: 'array', items: { type: 'array', prefixItems: [text, text], minItems: 2, maxItems: 2 } },
  ],
};

export const progress: Record<string, Schema> = {
  stage: { type: 'string', maxLength: 128 },
  percent: { type: 'number', minimum: 0, maximum: 100 },
  message: { type: 'string', maxLength: 2000 },
  data: { description: 'Any JSON, 16 KB at most.' },
};
