// A topic with a schema: what is published is checked before it is sent, what is read before it is handed over, and the compiler knows both.
import { jsonBytes } from './body.ts';
import type { EventAttributes, EventData } from './cloud-event.ts';
import type { PublishedEvent, PublishOptions } from './publish.ts';
import { ContractBroken } from './service.ts';
import type { SchemaInput, SchemaOutput, StandardSchema } from './standard-schema.ts';
import type { TopicEvent } from './topic-event.ts';

export interface Topic<Schema> {
  readonly name: string;
  /** Publishes the value as JSON, as the schema made it; throws `input-mismatch` for one that does not fit. */
  readonly publish: (
    value: SchemaInput<Schema>,
    options?: Omit<EventAttributes, 'dataContentType'> & PublishOptions,
  ) => Promise<PublishedEvent>;
  /** The checked data of an event of this topic, wherever it came from; throws `output-mismatch` for one that does not fit. */
  readonly read: (event: TopicEvent) => Promise<SchemaOutput<Schema>>;
}

export function topicOf<Schema extends StandardSchema<unknown, unknown>>(
  name: string,
  schema: Schema,
  publish: (topic: string, data: EventData, options: EventAttributes & PublishOptions) => Promise<PublishedEvent>,
): Topic<Schema> {
  return {
    name,
    async publish(value, options = {}) {
      const verdict = await schema['~standard'].validate(value);
      if (verdict.issues) throw new ContractBroken('input-mismatch', verdict.issues);
      const text = utf8Text(jsonBytes(verdict.value).bytes);
      return publish(name, text, { ...options, dataContentType: 'application/json' });
    },
    async read(event) {
      let value: unknown;
      try {
        value = event.bytes.length === 0 ? undefined : event.json();
      } catch (error) {
        throw new ContractBroken('output-mismatch', [{ message: (error as Error).message }]);
      }
      const verdict = await schema['~standard'].validate(value);
      if (verdict.issues) throw new ContractBroken('output-mismatch', verdict.issues);
      return verdict.value as SchemaOutput<Schema>;
    },
  };
}

const utf8Text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
