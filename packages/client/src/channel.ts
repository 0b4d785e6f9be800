// The one connection on which a client is told of all operations that it follows, however many: opened for the first of them, taken up again after the
// last event of each when it is lost, and closed when none is left.
import {
  type ClientFrame,
  type OperationEvent,
  type OperationReset,
  type ServerFrame,
  WaitlessError,
  type WatchEvents,
} from '@waitless/protocol';
import { createLine } from './line.ts';
import type { Seams } from './seams.ts';
import type { Dial } from './socket.ts';
import type { Wire } from './wire.ts';

export type Told = OperationEvent | OperationReset;

export interface FollowedBy {
  /** `end`: the last event alone. */
  events: WatchEvents;
  /** Only events after the one with this id. */
  after?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Called before each pause while the server is away. */
  onRetry?: ((error: WaitlessError, pauseMs: number) => void) | undefined;
  /** Throw the last failure when the server is away for longer. No end by default. */
  reconnectSeconds?: number | undefined;
}

export interface Channel {
  /**
   * The events of an operation, each once and in order, to the last. Throws NotTold where it is not told over this channel, and whoever wants to know
   * has to ask.
   */
  follow(id: string, by: FollowedBy): AsyncGenerator<Told, void, void>;
  /** More will be followed soon: a connection that is there stays, until the function that comes back is called. */
  hold(): () => void;
}

/** What the verbs that wait have in common. */
export interface Link {
  wire: Wire;
  channel: Channel;
  seams: Seams;
}

/** No WebSocket comes through to the server, or it does not tell this client of this operation. */
export class NotTold extends Error {}

/** So long may a script take between one request and the next, and so much later does a process end. */
const lingerMs = 50;
/** What may lie unread for one reader; it is told the rest once it has read. */
const mostUnread = 1_000;
/** Watches in one message, when all are taken up again. */
const mostTogether = 100;

interface Subject {
  id: string;
  ref: string;
  by: FollowedBy;
  /** Id and version of the last event that came. */
  after: string | undefined;
  version: number;
  unread: Told[];
  /** The last event has come. */
  over: boolean;
  /** Not watched until what is unread has been read. */
  full: boolean;
  failure: unknown;
  giveUpAt: number | undefined;
  wake: () => void;
}

export function createChannel({ wire, dial, seams }: { wire: Wire; dial: Dial | undefined; seams: Seams }): Channel {
  const subjects = new Map<string, Subject>();
  let holds = 0;
  let refs = 0;
  let linger: ReturnType<typeof setTimeout> | undefined;

  const line = createLine(
    { wire, dial, seams },
    {
      opened() {
        const watched = [...subjects.values()].filter(({ full, over }) => !full && !over);
        for (const subject of watched) subject.giveUpAt = undefined;
        for (let at = 0; at < watched.length; at += mostTogether)
          line.send(watched.slice(at, at + mostTogether).map(watching));
      },
      frame: hear,
      closed() {},
      away(error, ms) {
        for (const subject of subjects.values()) {
          const { reconnectSeconds = Number.POSITIVE_INFINITY, onRetry } = subject.by;
          subject.giveUpAt ??= seams.now() + reconnectSeconds * 1_000;
          if (seams.now() + ms > subject.giveUpAt) fail(subject, error);
          else
            try {
              onRetry?.(error, ms);
            } catch (thrown) {
              fail(subject, thrown);
            }
        }
      },
      refused() {
        for (const subject of subjects.values()) fail(subject, new NotTold('no WebSocket comes through'));
      },
    },
  );

  function watching({ id, ref, after, by }: Subject): ClientFrame {
    return { type: 'watch', ref, operations: [id], events: by.events, ...(after && { after: { [id]: after } }) };
  }

  function hear(frame: ServerFrame): void {
    const subject = frame.ref === undefined ? undefined : subjects.get(frame.ref);
    if (!subject || subject.full || subject.over) return;
    if (frame.type === 'event') {
      const { event } = frame;
      if (event.version <= subject.version) return;
      // Versions have no gaps; a stream that has one is not to be relied on.
      if (subject.by.events === 'all' && subject.version > 0 && event.version > subject.version + 1)
        fail(subject, new NotTold(`no event came between the versions ${subject.version} and ${event.version}`));
      else take(subject, event, event);
    } else if (frame.type === 'reset') {
      const { detail, operation } = frame;
      // There is nothing after what is known.
      if (operation.done && operation.eventId === subject.after) return end(subject);
      take(subject, { type: 'reset', detail, operation }, operation);
    } else if (frame.type === 'error') fail(subject, new NotTold(`${frame.problem.code}: ${frame.problem.detail}`));
  }

  function take(
    subject: Subject,
    told: Told,
    { eventId, version, done }: Pick<OperationEvent, 'eventId' | 'version' | 'done'>,
  ): void {
    // For one who waits for the end, a state on the way is nothing to be told of.
    if (subject.by.events === 'all' || done) subject.unread.push(told);
    subject.after = eventId;
    subject.version = version;
    if (done) return end(subject);
    if (subject.unread.length >= mostUnread) {
      subject.full = true;
      unwatch(subject);
    }
    subject.wake();
  }

  function end(subject: Subject): void {
    subject.over = true;
    subject.wake();
  }

  function fail(subject: Subject, failure: unknown): void {
    subject.failure ??= failure;
    subject.wake();
  }

  function unwatch({ id, ref }: Subject): void {
    if (line.open) line.send([{ type: 'unwatch', operations: [id], watch: ref }]);
  }

  function watch(subject: Subject): void {
    subjects.set(subject.ref, subject);
    clearTimeout(linger);
    if (line.open) line.send([watching(subject)]);
    else line.start();
  }

  /** Closes what nobody needs. */
  function tidy(): void {
    clearTimeout(linger);
    if (subjects.size > 0) return;
    if (!line.open) line.stop();
    else if (holds === 0) linger = setTimeout(() => line.stop(), lingerMs);
  }

  async function* follow(id: string, by: FollowedBy): AsyncGenerator<Told, void, void> {
    by.signal?.throwIfAborted();
    if (!line.promising) throw new NotTold('there is no WebSocket');
    const subject: Subject = {
      id,
      ref: String(++refs),
      by,
      after: by.after,
      version: Number(by.after?.slice(by.after.lastIndexOf('_') + 1)) || 0,
      unread: [],
      over: false,
      full: false,
      failure: undefined,
      giveUpAt: undefined,
      wake: () => {},
    };
    const onAbort = (): void => fail(subject, by.signal!.reason);
    by.signal?.addEventListener('abort', onAbort);
    try {
      watch(subject);
      for (;;) {
        by.signal?.throwIfAborted();
        const told = subject.unread.shift();
        if (told) yield told;
        else if (subject.over) return;
        else if (subject.failure !== undefined) throw subject.failure;
        else if (subject.full) {
          // Under another name, so that what is still under way under the old one is not taken for it.
          subjects.delete(subject.ref);
          subject.ref = String(++refs);
          subject.full = false;
          watch(subject);
        } else await new Promise<void>((resolve) => (subject.wake = resolve));
      }
    } finally {
      subjects.delete(subject.ref);
      by.signal?.removeEventListener('abort', onAbort);
      if (!subject.over && !subject.full) unwatch(subject);
      tidy();
    }
  }

  return {
    follow,
    hold() {
      holds++;
      clearTimeout(linger);
      return () => {
        holds--;
        tidy();
      };
    },
  };
}
