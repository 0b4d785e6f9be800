// A reader of Server-Sent Events on plain HTTP that hides nothing: each event as it came, and how the stream ended.
import { Agent, type IncomingMessage, request as httpRequest } from 'node:http';
import type { TestContext } from 'node:test';
import { cleanUp } from './cleanup.ts';
import type { Sent } from './http.ts';

export interface Told {
  id: string;
  event: string;
  /** Parsed. */
  data: Record<string, unknown> & { version: number; type: string; done: boolean };
}

export interface EventStream {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** The last place that it was told, with an event or without one. */
  readonly place: string | undefined;
  /** What has come so far; comments are left out. */
  readonly events: readonly Told[];
  /** Resolves with the events once one of them fits, or rejects when the stream ends before. */
  when(fits: (event: Told) => boolean): Promise<readonly Told[]>;
  /** All of them, once the server has ended the stream; rejects when it was cut. */
  ended(): Promise<readonly Told[]>;
  /** Cuts the connection. */
  destroy(): void;
}

export interface Following extends Omit<Sent, 'body'> {
  lastEventId?: string | undefined;
  body?: string;
}

const oneEach = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });

/** Opens a stream; the answer may be any other answer too, whose body is then read as if it were one. */
export async function eventStream(
  t: TestContext,
  url: string,
  { method = 'GET', headers = {}, key, lastEventId, body }: Following = {},
): Promise<EventStream> {
  const fields: Record<string, string | string[]> = { Accept: 'text/event-stream' };
  for (const [name, value] of Object.entries(headers)) fields[name] = typeof value === 'string' ? value : [...value];
  if (key !== undefined) fields['Authorization'] = `Bearer ${key}`;
  if (lastEventId !== undefined) fields['Last-Event-ID'] = lastEventId;
  const message = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = httpRequest(url, { method, headers: fields, agent: oneEach });
    outgoing.on('error', reject).on('response', resolve).end(body);
  });
  cleanUp(t, () => void message.destroy());
  return new Stream(message);
}

class Stream implements EventStream {
  readonly events: Told[] = [];
  place: string | undefined;
  readonly #message: IncomingMessage;
  readonly #end: Promise<void>;
  #rest = '';
  readonly #listeners = new Set<() => void>();

  constructor(message: IncomingMessage) {
    this.#message = message;
    message.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    this.#end = new Promise((resolve, reject) => {
      message.on('end', resolve).on('error', reject);
      message.on('close', () => reject(new Error('the stream was cut')));
    });
    this.#end.catch(() => {});
  }

  get status(): number {
    return this.#message.statusCode!;
  }

  get headers(): IncomingMessage['headers'] {
    return this.#message.headers;
  }

  #take(text: string): void {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop()!;
    for (const block of blocks) {
      const lines = block.split('\n').filter((line) => !line.startsWith(':'));
      if (lines.length === 0) continue;
      const all = (name: string): string[] =>
        lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      this.place = all('id')[0] ?? this.place;
      if (all('data').length === 0) continue;
      this.events.push({
        id: all('id')[0]!,
        event: all('event')[0]!,
        data: JSON.parse(all('data').join('\n')) as Told['data'],
      });
    }
    for (const listener of this.#listeners) listener();
  }

  when(fits: (event: Told) => boolean): Promise<readonly Told[]> {
    const found = new Promise<readonly Told[]>((resolve) => {
      const look = (): void => {
        if (!this.events.some(fits)) return;
        this.#listeners.delete(look);
        resolve(this.events);
      };
      this.#listeners.add(look);
      look();
    });
    const ended = this.#end.then(() => {
      if (this.events.some(fits)) return this.events;
      throw new Error(`the stream ended with ${JSON.stringify(this.events.at(-1))}`);
    });
    return Promise.race([found, ended]);
  }

  async ended(): Promise<readonly Told[]> {
    await this.#end;
    return this.events;
  }

  destroy(): void {
    this.#message.destroy();
  }
}
