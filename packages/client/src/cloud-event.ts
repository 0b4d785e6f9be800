// Puts an event into the words of CloudEvents 1.0: JSON whose data is the text, the bytes or the value that it was given.
import { WaitlessError } from '@waitless/protocol';
import { base64, jsonBytes, toBytes, utf8 } from './body.ts';
import { jsonType } from './topic-event.ts';

/** Text and bytes go as they are; anything else goes as JSON. */
export type EventData = string | Uint8Array | ArrayBuffer | object | number | boolean | null;

/** What an event tells of itself (CloudEvents 1.0). Everything has a default. */
export interface EventAttributes {
  /** What has happened, such as `order.placed`; the topic's name by default. */
  type?: string | undefined;
  /** Who tells it; the client by default. Source and id together name an event: a repeat is stored once. */
  source?: string | undefined;
  /** Made by the client by default, and kept over its retries. */
  id?: string | undefined;
  /** What it is about, such as an order's number. */
  subject?: string | undefined;
  /** When it happened; now by default. */
  time?: Date | string | undefined;
  /** Media type of the data: JSON for a value, `text/plain` for text and `application/octet-stream` for bytes by default. */
  dataContentType?: string | undefined;
  /** Events of one key reach an ordered subscription one after another; the attribute `partitionkey` of CloudEvents. */
  orderingKey?: string | undefined;
  /** Attributes of your own: names of lower-case letters and digits. */
  extensions?: Readonly<Record<string, string | number | boolean>> | undefined;
}

/** An event of several that are published together: by its parts, or as a whole in structured JSON, as the `cloudEvent` of one that was read. */
export type NewTopicEvent =
  | (EventAttributes & { data?: EventData | undefined; cloudEvent?: undefined })
  | { cloudEvent: string };

/** What an event is called where the caller does not say. */
export interface Naming {
  topic: string;
  id: string;
  time: string;
}

export const defaultSource = '/waitless-client';

const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The JSON of an event and its id. What it holds is judged by the server, but for what cannot be written. */
export function eventJson(event: NewTopicEvent, naming: Naming): { id: string; json: string } {
  if (event.cloudEvent !== undefined) {
    const { id } = (JSON.parse(checkedJson(event.cloudEvent)) ?? {}) as { id?: unknown };
    return { id: String(id), json: event.cloudEvent };
  }
  const { type, source, id = naming.id, subject, time, orderingKey, extensions, data } = event;
  const written = data === undefined ? undefined : dataOf(data, event.dataContentType);
  const head = JSON.stringify({
    ...extensions,
    specversion: '1.0',
    id,
    source: source ?? defaultSource,
    type: type ?? naming.topic,
    subject,
    time: time === undefined ? naming.time : timeText(time),
    datacontenttype: written?.type ?? event.dataContentType,
    partitionkey: orderingKey,
  });
  return { id, json: written === undefined ? head : `${head.slice(0, -1)},${written.member}}` };
}

function timeText(time: Date | string): string {
  if (typeof time === 'string') return time;
  if (Number.isNaN(time.getTime())) throw new WaitlessError('invalid-parameter', 'the time of the event is no time.');
  return time.toISOString();
}

/** The member that holds the data, and its media type. */
function dataOf(data: EventData, given: string | undefined): { member: string; type: string } {
  if (typeof data === 'string') {
    const type = given ?? 'text/plain; charset=utf-8';
    // Text that says it is JSON is JSON already, and stays as it was written.
    return jsonType.test(type)
      ? { member: `"data":${checkedJson(data)}`, type }
      : { member: `"data":${JSON.stringify(new TextDecoder('utf-8', { ignoreBOM: true }).decode(utf8(data)))}`, type };
  }
  const { bytes, contentType } = typeof data === 'object' && data !== null ? toBytes(data) : jsonBytes(data);
  if (contentType === undefined) {
    const type = given ?? 'application/octet-stream';
    return jsonType.test(type)
      ? { member: `"data":${checkedJson(decoded(bytes))}`, type }
      : { member: `"data_base64":"${base64(bytes)}"`, type };
  }
  const type = given ?? contentType;
  const text = new TextDecoder().decode(bytes);
  // A value under a type of text, as a document of a format of its own: its JSON is that text.
  return { member: `"data":${jsonType.test(type) ? text : JSON.stringify(text)}`, type };
}

function decoded(bytes: Uint8Array): string {
  try {
    return textDecoder.decode(bytes);
  } catch {
    throw new WaitlessError('invalid-parameter', 'the data of the event is not UTF-8, which JSON is.');
  }
}

function checkedJson(text: string): string {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new WaitlessError('invalid-parameter', 'the data of the event is not the JSON that its type says.', {
      cause: error,
    });
  }
  return text;
}
