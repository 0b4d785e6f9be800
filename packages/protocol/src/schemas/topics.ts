// Schemas of topics and their events.
import { closed, maybe, object, ref, type Schema, text, time, whole } from '../schema.ts';

const topicSettings: Record<string, Schema> = {
  maxAge: { type: 'string', description: 'Events are kept for so long, such as `7d`.' },
  maxBytes: {
    type: 'string',
    description: 'And no more than this of them, such as `1gb`; absent: however much it is.',
  },
  hardMaxAge: {
    type: 'string',
    description:
      'Beyond `maxAge` what a durable subscription has not read yet is kept on, for so long at most; four times as long by default.',
  },
  hardMaxBytes: { type: 'string', description: 'The same for `maxBytes`; four times as much by default.' },
};

const topic: Record<string, Schema> = {
  name: text,
  events: { ...whole(0), description: 'That are kept.' },
  bytes: { ...whole(0), description: 'Of them, with their attributes.' },
  last: { ...whole(0), description: 'Position of the newest; 0: none yet.' },
  removedTo: { ...whole(0), description: 'Newest position that is not kept any more; 0: none was removed.' },
  oldestAt: { ...maybe(time), description: 'When the oldest that is kept was published.' },
  retention: object(topicSettings, ['maxAge', 'hardMaxAge']),
  source: { type: 'string', enum: ['api', 'default'], description: 'Where the retention comes from.' },
  savedAt: maybe(time),
};

const cloudEvent: Schema = {
  type: 'object',
  description:
    'CloudEvents 1.0 in JSON. `data` is what was published, byte for byte where it is JSON; `data_base64` where it is no text.',
  properties: {
    specversion: { type: 'string', enum: ['1.0'] },
    id: { type: 'string', minLength: 1 },
    source: { type: 'string', minLength: 1 },
    type: { type: 'string', minLength: 1 },
    time: { type: 'string', format: 'date-time' },
    subject: { type: 'string' },
    datacontenttype: { type: 'string' },
    data: { description: 'Any JSON; text where the type is text.' },
    data_base64: { type: 'string', contentEncoding: 'base64' },
  },
  required: ['specversion', 'id', 'source', 'type'],
};

export const topicSchemas: Readonly<Record<string, Schema>> = {
  CloudEvent: cloudEvent,
  TopicSettings: object(topicSettings, [], closed),
  Topic: object(topic),
  TopicPage: object({ items: { type: 'array', items: ref('Topic') }, next: maybe(text) }),
  Published: object(
    {
      ids: { type: 'array', items: text, description: 'The id of each event, in the order they came in.' },
      positions: { type: 'array', items: whole(1), description: 'Where each stands in the history of the namespace.' },
      repeated: {
        type: 'array',
        items: { type: 'boolean' },
        description: 'Which of them were there already, with the same source and id; absent where none was.',
      },
    },
    ['ids', 'positions'],
  ),
  EventPage: object(
    {
      items: { type: 'array', items: object({ position: whole(1), topic: text, event: ref('CloudEvent') }) },
      next: { ...maybe(text), description: 'For `after`, where there is more now.' },
      cursor: { type: 'string', description: 'For `after`, later: the place behind all that was looked at.' },
      reset: {
        ...object({
          reason: { type: 'string', enum: ['removed', 'history'] },
          from: whole(0),
          to: whole(0),
          detail: text,
        }),
        description:
          'Only where `after` could not be kept to: events behind it are gone, or it is no place of this history.',
      },
    },
    ['items', 'next', 'cursor'],
  ),
};
