// An event of a topic as a program reads it: where it stands, what it tells of itself, and its data byte for byte.
import { envelopeBytes, utf8 } from './body.ts';

export interface TopicEvent {
  readonly topic: string;
  /** Its place in the log of its namespace: each later event has a larger one. */
  readonly position: number;
  /** Source and id together name the event: the same ones are the same event, told again. */
  readonly id: string;
  readonly source: string;
  readonly type: string;
  /** RFC 3339, where the publisher said so. */
  readonly time: string | undefined;
  readonly subject: string | undefined;
  /** Media type of the data. */
  readonly contentType: string;
  /** All attributes of CloudEvents, extensions too. */
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  /** In structured JSON of CloudEvents, as it came, for those who hand it on. */
  readonly cloudEvent: string;
  /** The data as it was published. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly text: () => string;
  /** Throws where the data is not JSON. */
  readonly json: <T = unknown>() => T;
}

/** What stands on the wire beside the event itself. */
export interface Placed {
  topic: string;
  position: number;
}

/** Reads structured JSON; its data stays as it was written. */
export function topicEventOf(json: string, { topic, position }: Placed): TopicEvent {
  const { data, data_base64: base64, ...attributes } = JSON.parse(json) as Record<string, unknown>;
  const known = attributes as Record<string, string | number | boolean>;
  const contentType = typeof known['datacontenttype'] === 'string' ? known['datacontenttype'] : 'application/json';
  const read = (): Uint8Array<ArrayBuffer> => {
    if (typeof base64 === 'string') return envelopeBytes({ bodyBase64: base64 });
    if (data === undefined) return new Uint8Array(0);
    if (typeof data === 'string' && !jsonType.test(contentType)) return utf8(data);
    return utf8(memberText(json, 'data') ?? JSON.stringify(data));
  };
  let bytes: Uint8Array<ArrayBuffer> | undefined;
  const text = (): string => new TextDecoder().decode((bytes ??= read()));
  const optional = (name: string): string | undefined => (known[name] === undefined ? undefined : String(known[name]));
  return {
    topic,
    position,
    id: String(known['id']),
    source: String(known['source']),
    type: String(known['type']),
    time: optional('time'),
    subject: optional('subject'),
    contentType,
    attributes: known,
    cloudEvent: json,
    get bytes() {
      return (bytes ??= read());
    },
    text,
    json: <T>() => JSON.parse(text()) as T,
  };
}

export const jsonType = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;

/** The source text of a member of a JSON object that has been parsed before; undefined where it has none of this name. */
export function memberText(json: string, name: string): string | undefined {
  let at = json.indexOf('{') + 1;
  while (at < json.length) {
    const keyAt = json.indexOf('"', at);
    if (keyAt < 0) return undefined;
    const keyEnd = endOfString(json, keyAt);
    const valueAt = json.indexOf(':', keyEnd) + 1;
    const valueEnd = endOfValue(json, valueAt);
    if (json.slice(keyAt + 1, keyEnd - 1) === name) return json.slice(valueAt, valueEnd).trim();
    at = valueEnd + 1;
  }
  return undefined;
}

/** Of a list that has been parsed before: the source text of each element. */
export function elementTexts(json: string): string[] {
  const found: string[] = [];
  for (let at = json.indexOf('[') + 1; at < json.length;) {
    const end = endOfValue(json, at);
    const text = json.slice(at, end).trim();
    if (text !== '') found.push(text);
    at = end + 1;
  }
  return found;
}

/** Behind the closing quote, which is the first one with an even number of backslashes before it. */
function endOfString(json: string, quoteAt: number): number {
  for (let at = json.indexOf('"', quoteAt + 1); ; at = json.indexOf('"', at + 1)) {
    let slashes = 0;
    while (json[at - 1 - slashes] === '\\') slashes++;
    if (slashes % 2 === 0) return at + 1;
  }
}

/** At the comma or bracket that ends a value. */
function endOfValue(json: string, from: number): number {
  let depth = 0;
  for (let at = from; at < json.length;) {
    const character = json[at]!;
    if (character === '"') {
      at = endOfString(json, at);
      continue;
    }
    if (depth === 0 && (character === ',' || character === '}' || character === ']')) return at;
    if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') depth--;
    at++;
  }
  return json.length;
}
