// Schemas for whoever runs the server.
import { maybe, object, type Schema, text, time, whole } from '../schema.ts';

export const operateSchemas: Readonly<Record<string, Schema>> = {
  Backup: object({
    state: { type: 'string', enum: ['running', 'done', 'failed'] },
    file: { ...maybe(text), description: "Path on the server's side." },
    bytes: maybe(whole(0)),
    startedAt: time,
    createdAt: maybe(time),
    copiedBytes: whole(0),
    totalBytes: maybe(whole(0)),
    error: maybe(object({ code: text, message: text })),
  }),
  Health: object({ status: { type: 'string' } }, ['status'], { additionalProperties: true }),
};
