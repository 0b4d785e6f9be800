// Schema of what every refusal says (RFC 9457).
import { object, type Schema, text, whole } from '../schema.ts';

export const problemSchemas: Readonly<Record<string, Schema>> = {
  Problem: object(
    {
      type: { type: 'string', description: 'URL under /problems/ that explains the code.' },
      title: text,
      status: whole(400, 599),
      detail: text,
      instance: text,
      code: text,
      accepted: { type: 'boolean' },
      errors: { type: 'array', items: object({ pointer: text, detail: text }) },
    },
    ['type', 'title', 'status', 'code'],
    { additionalProperties: true },
  ),
};
