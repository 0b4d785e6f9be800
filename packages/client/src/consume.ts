// A consumer of a pull subscription: takes events as it has room for them, runs the handler, and acknowledges what it has done. Those of one
// subscription share its events; each subscription has all of them.
import { WaitlessError } from '@waitless/protocol';
import { pauseMs } from './backoff.ts';
import { answerEvent, type EventAnswer, type LeasedEvent, takeEvents } from './event-leases.ts';
import { keepLease } from './keep-lease.ts';
import { extendLease } from './leases.ts';
import { persist } from './persist.ts';
import { isTransient } from './settling.ts';
import type { Seams } from './seams.ts';
import { stopping } from './stopping.ts';
import type { TopicEvent } from './topic-event.ts';
import { pollSeconds } from './watch.ts';
import type { Wire } from './wire.ts';
import { readOptions, type WorkerOptions } from './worker-options.ts';

/** An event that is to be done, and who it is held for. */
export interface ConsumedEvent extends TopicEvent {
  /** From 1. An event may come again, after a crash for instance: source and id stay the same. */
  readonly attempt: number;
  /** Fails it now, it becomes a dead letter. */
  readonly lastAttempt: boolean;
  /** Aborts when it is not held any more: `lease-lost`, or the consumer's stop. */
  readonly signal: AbortSignal;
}

/**
 * Resolves when the event is done: it is acknowledged then, and not before. Throws to have it come again after a pause, by the subscription's `retry` or
 * after `retryAfterSeconds` on the error, and after the last attempt become a dead letter.
 */
export type EventHandler = (event: ConsumedEvent) => unknown;

export interface ConsumeOptions extends Omit<WorkerOptions, 'onFailure' | 'webSocket'> {
  /** Called when a handler threw, and when an answer was refused, as `lease-lost`. */
  onFailure?: ((error: unknown, event: ConsumedEvent) => void) | undefined;
  /** Called when events were lost before the subscription had read them, by the hard limit of their topic: those after `from`, up to `to`. */
  onReset?: ((lost: { from: number; to: number }) => void) | undefined;
}

export interface Consumer {
  readonly name: string;
  /** Resolves when the consumer has stopped; rejects when it cannot go on, as with a wrong key or without such a subscription. */
  readonly done: Promise<void>;
  /** Takes no more events, lets handlers end for up to `graceSeconds` (25 by default), acknowledges what they did and gives the rest back. */
  stop(options?: { graceSeconds?: number | undefined }): Promise<void>;
}

interface Held {
  token: string;
  event: ConsumedEvent;
  answer: EventAnswer;
  /** Its handler's work is not wanted any more. */
  abandon: (reason: unknown) => void;
  /** Its answer is recorded or refused. */
  end: () => void;
}

/** Far below the 1000 that a server reads at once. */
const mostTogether = 200;

/** Starts a consumer at once. */
export function consume(
  { wire, seams }: { wire: Wire; seams: Seams },
  { subscription, handler, options }: { subscription: string; handler: EventHandler; options: ConsumeOptions },
): Consumer {
  const { name, concurrency, most, leaseSeconds } = readOptions({ subscription }, options, seams);
  const { onRetry } = options;
  /** In a turn of its own: what the caller's code throws is for the caller's process to hear, and no reason to lose an event. */
  const onFailure = (error: unknown, event: ConsumedEvent): void =>
    void Promise.resolve().then(() => options.onFailure?.(error, event));

  const running = new Set<Held>();
  /** Answers that wait for the next request. */
  let answers: Held[] = [];
  /** Room that requests under way may fill. */
  let asked = 0;
  let polling = false;
  let settling = false;
  let failures = 0;
  let turnQueued = false;
  const end = stopping(
    { who: 'consumer', signal: options.signal },
    {
      turn,
      giveBack(reason) {
        for (const held of running) {
          held.abandon(reason);
          end.telling(tell(held));
        }
        running.clear();
      },
    },
  );
  const { taking, closing } = end;

  /** Starts what there is to do: a request that hands answers in, or else one that waits for events. */
  function turn(): void {
    const room = Math.min(most, concurrency - running.size - asked);
    if (taking.aborted) for (const held of answers.splice(0)) end.telling(tell(held));
    else if (answers.length > 0 && !settling && room > 0)
      end.telling(exchange({ together: answers.splice(0, mostTogether), room, waitSeconds: 0 }));
    else if (answers.length === 0 && !polling && !settling && room > 0)
      end.telling(exchange({ together: [], room, waitSeconds: pollSeconds }));
  }

  /** In a turn of its own, so that answers which come together travel together. */
  function queueTurn(): void {
    if (turnQueued) return;
    turnQueued = true;
    setTimeout(() => {
      turnQueued = false;
      turn();
    }, 0);
  }

  async function exchange({ together, room, waitSeconds }: { together: Held[]; room: number; waitSeconds: number }) {
    const waits = waitSeconds > 0;
    if (waits) polling = true;
    else settling = true;
    asked += room;
    let pause: WaitlessError | undefined;
    try {
      const { settled, leases, reset } = await takeEvents(wire, {
        subscription,
        worker: name,
        max: room,
        waitSeconds,
        leaseSeconds,
        settle: together,
        signal: waits ? taking : closing,
      });
      failures = 0;
      for (const lease of leases) begin(lease);
      if (reset) void Promise.resolve().then(() => options.onReset?.(reset));
      for (const [at, held] of together.entries()) {
        const refused = settled[at];
        if (refused && isTransient(refused)) {
          answers.push(held);
          pause = refused;
        } else close(held, refused);
      }
    } catch (error) {
      if (isTransient(error)) {
        pause = error;
        answers.unshift(...together);
      } else if (waits || together.length === 0) {
        if (!taking.aborted) end.failForGood(error);
      } // One answer that the server does not take must not keep the others from arriving.
      else for (const held of together) end.telling(tell(held));
    } finally {
      asked -= room;
    }
    if (pause && !taking.aborted) {
      const ms = pauseMs({ failures: failures++, random: seams.random, retryAfterSeconds: pause.retryAfterSeconds });
      onRetry?.(pause, ms);
      await seams.sleep(ms, taking).catch(() => {});
    }
    if (waits) polling = false;
    else settling = false;
    queueTurn();
  }

  function begin({ token, event, attempt, lastAttempt }: LeasedEvent): void {
    const wanted = new AbortController();
    const ended = new AbortController();
    const consumed: ConsumedEvent = Object.assign(event, { attempt, lastAttempt, signal: wanted.signal });
    const held: Held = {
      token,
      event: consumed,
      answer: { kind: 'release' },
      abandon(reason) {
        wanted.abort(reason);
        ended.abort();
      },
      end: () => ended.abort(),
    };
    if (taking.aborted) return end.telling(tell(held));
    const extend = (signal: AbortSignal): Promise<void> => extendLease(wire, { token, leaseSeconds }, signal);
    keepLease({ leaseSeconds, extend, lost: held.abandon, ended: ended.signal }, seams);
    running.add(held);
    const run = done(held).then((answer) => {
      if (!running.delete(held)) return;
      if (wanted.signal.aborted) ended.abort();
      else answers.push({ ...held, answer });
      queueTurn();
    });
    end.handling(run);
  }

  /** Runs the handler. */
  async function done({ event }: Held): Promise<EventAnswer> {
    try {
      await handler(event);
      return { kind: 'ack' };
    } catch (error) {
      if (!event.signal.aborted) onFailure(error, event);
      return refusalOf(error);
    }
  }

  /** Tells one answer by itself, until the server has said something definite about it. */
  function tell(held: Held): Promise<void> {
    return persist(() => answerEvent(wire, held, closing), { signal: closing, onRetry }, seams).then(
      () => close(held, undefined),
      (error: unknown) => close(held, error),
    );
  }

  function close(held: Held, refused: unknown): void {
    held.end();
    if (refused !== undefined && held.answer.kind !== 'release') onFailure(refused, held.event);
  }

  queueTurn();
  return { name, done: end.done, stop: end.stop };
}

/** What to say of an event whose handler threw. */
function refusalOf(error: unknown): EventAnswer {
  const { message, retryAfterSeconds: seconds } = (
    typeof error === 'object' && error !== null ? error : { message: String(error) }
  ) as Record<string, unknown>;
  return {
    kind: 'nack',
    retryAfter: typeof seconds === 'number' && seconds >= 0 ? seconds : undefined,
    message: (typeof message === 'string' ? message : 'the handler threw something that is no error').slice(0, 2000),
  };
}
