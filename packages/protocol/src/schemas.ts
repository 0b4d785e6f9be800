// JSON Schemas (2020-12) of what travels in JSON, named as the OpenAPI document names them.
import type { Schema } from './schema.ts';
import { callbackSchemas } from './schemas/callbacks.ts';
import { operateSchemas } from './schemas/operate.ts';
import { operationSchemas } from './schemas/operations.ts';
import { problemSchemas } from './schemas/problem.ts';
import { serviceSchemas } from './schemas/services.ts';
import { submitSchemas } from './schemas/submit.ts';
import { subscriptionSchemas } from './schemas/subscriptions.ts';
import { topicSchemas } from './schemas/topics.ts';
import { workerSchemas } from './schemas/workers.ts';

export const schemas: Readonly<Record<string, Schema>> = {
  ...submitSchemas,
  ...operationSchemas,
  ...serviceSchemas,
  ...workerSchemas,
  ...subscriptionSchemas,
  ...topicSchemas,
  ...callbackSchemas,
  ...operateSchemas,
  ...problemSchemas,
};
