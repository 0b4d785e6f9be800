// A WebSocket client of the tests: every frame that came, in order, and waiting for the one that is expected.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import {
  type ClientFrame,
  decodeFrames,
  type ServerFrame,
  streamProtocol,
  type TopicClientFrame,
} from '@waitless/protocol';
import { WebSocket } from 'ws';
import { cleanUp } from './cleanup.ts';

export type FrameOf<T extends ServerFrame['type']> = Extract<ServerFrame, { type: T }>;

export interface Channel {
  readonly ws: WebSocket;
  readonly frames: readonly ServerFrame[];
  /** One frame, or a message of several. */
  send(...frames: (ClientFrame | TopicClientFrame)[]): void;
  /** The first frame of a type that fits, among those that came and those that will. */
  frame<T extends ServerFrame['type']>(type: T, fits?: (frame: FrameOf<T>) => boolean): Promise<FrameOf<T>>;
  /** Sends a frame under a name of its own, and gives what answers it. */
  ask(frame: ClientFrame | TopicClientFrame): Promise<ServerFrame>;
  /** Frames of a type, so far. */
  all<T extends ServerFrame['type']>(type: T): FrameOf<T>[];
  readonly closed: Promise<{ code: number; reason: string }>;
  close(): Promise<void>;
}

export interface ChannelOptions {
  key?: string;
  protocols?: readonly string[];
  headers?: Readonly<Record<string, string>>;
  query?: string;
}

export function socketTo(
  base: string,
  { key, protocols = [streamProtocol], headers, query = '' }: ChannelOptions = {},
): WebSocket {
  return new WebSocket(`${base.replace(/^http/, 'ws')}/v1/stream${query}`, [...protocols], {
    headers: { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...headers },
    perMessageDeflate: false,
  });
}

/** An open connection, closed at the end of the test. */
export async function channelTo(t: TestContext, base: string, options: ChannelOptions = {}): Promise<Channel> {
  const ws = socketTo(base, options);
  cleanUp(t, () => ws.terminate());
  const frames: ServerFrame[] = [];
  const waiting = new Set<() => void>();
  const news = (): void => {
    for (const look of waiting) look();
  };
  let over: { code: number; reason: string } | undefined;
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    ws.on('close', (code, reason) => {
      over = { code, reason: reason.toString() };
      resolve(over);
      news();
    });
  });
  ws.on('message', (data) => {
    frames.push(...decodeFrames((data as Buffer).toString('utf8')));
    news();
  });
  await new Promise<void>((resolve, reject) => {
    ws.once('open', resolve);
    ws.once('error', reject);
  });
  ws.on('error', () => {});
  let asked = 0;

  const channel: Channel = {
    ws,
    frames,
    closed,
    send: (...sent) => ws.send(JSON.stringify(sent.length === 1 ? sent[0] : sent)),
    frame: (type, fits = () => true) => {
      let from = 0;
      return new Promise((resolve, reject) => {
        const look = (): void => {
          for (; from < frames.length; from++) {
            const frame = frames[from]!;
            if (frame.type !== type || !fits(frame as FrameOf<typeof type>)) continue;
            waiting.delete(look);
            return resolve(frame as FrameOf<typeof type>);
          }
          if (!over) return;
          waiting.delete(look);
          reject(new Error(`closed with ${over.code} ${over.reason} before a frame ${type} that fits came`));
        };
        waiting.add(look);
        look();
      });
    },
    ask: async (frame) => {
      const ref = `asked-${++asked}`;
      channel.send({ ...frame, ref });
      const answers = ['accepted', 'ok', 'error', 'pong'] as const;
      return Promise.race(answers.map((type) => channel.frame(type, (one) => one.ref === ref)));
    },
    all: (type) => frames.filter((frame): frame is FrameOf<typeof type> => frame.type === type),
    close: async () => {
      ws.close();
      await closed;
    },
  };
  return channel;
}

/** The frame, which must be of this type. */
export function as<T extends ServerFrame['type']>(type: T, frame: ServerFrame): FrameOf<T> {
  assert.equal(frame.type, type, JSON.stringify(frame));
  return frame as FrameOf<T>;
}
