// A consumer's side of the wire: take events, answer them, keep them.
import { routePath, WaitlessError } from '@waitless/protocol';
import { utf8 } from './body.ts';
import { answerGraceMs } from './response.ts';
import { subscriptionPath } from './subscriptions.ts';
import { elementTexts, memberText, type TopicEvent, topicEventOf } from './topic-event.ts';
import { readBytes, type Wire } from './wire.ts';

/** What is told about one event. */
export type EventAnswer =
  | { kind: 'ack' }
  | { kind: 'nack'; retryAfter: number | undefined; message: string }
  | { kind: 'release' };

export interface AnsweredEvent {
  token: string;
  answer: EventAnswer;
}

export interface LeasedEvent {
  token: string;
  event: TopicEvent;
  attempt: number;
  lastAttempt: boolean;
}

export interface TakenEvents {
  /** What became of the answers, in their order. */
  settled: (WaitlessError | undefined)[];
  leases: LeasedEvent[];
  /** The topics have lost what the subscription had not read yet. */
  reset: { from: number; to: number } | undefined;
}

export interface TakeWanted {
  subscription: string;
  worker: string;
  max: number;
  waitSeconds: number;
  leaseSeconds: number;
  settle: readonly AnsweredEvent[];
  signal: AbortSignal;
}

/** Hands in answers and takes events. */
export async function takeEvents(
  wire: Wire,
  { subscription, signal, settle, ...wanted }: TakeWanted,
): Promise<TakenEvents> {
  const response = await wire.send({
    method: 'POST',
    path: subscriptionPath('leaseEvents', subscription),
    headers: json(),
    body: utf8(JSON.stringify({ ...wanted, settle: settle.map(itemOf) })),
    signal,
    headersTimeoutMs: wanted.waitSeconds * 1_000 + answerGraceMs,
  });
  const text = new TextDecoder().decode(await readBytes(wire.url, response, signal));
  try {
    const { settled, leases, reset } = JSON.parse(text) as Answer;
    const texts = elementTexts(memberText(text, 'leases')!);
    return {
      settled: settled.map(({ status, code, detail }) =>
        status === 200 ? undefined : new WaitlessError(code ?? 'internal-error', detail, { status }),
      ),
      leases: leases.map(({ token, attempt, lastAttempt, topic, position }, at) => ({
        token,
        attempt,
        lastAttempt,
        event: topicEventOf(memberText(texts[at]!, 'event')!, { topic, position }),
      })),
      reset,
    };
  } catch (error) {
    throw new WaitlessError('unexpected-answer', `${wire.url} answered without leases: is that a Waitless server?`, {
      status: response.status,
      cause: error,
    });
  }
}

interface Answer {
  settled: { status: number; code?: string; detail?: string }[];
  leases: { token: string; attempt: number; lastAttempt: boolean; topic: string; position: number }[];
  reset?: { from: number; to: number };
}

const answerRoutes = { ack: 'ackLease', nack: 'nackLease', release: 'releaseLease' } as const;

const nackOf = ({ retryAfter, message }: Extract<EventAnswer, { kind: 'nack' }>) => ({ retryAfter, message });

const itemOf = ({ token, answer }: AnsweredEvent) => ({
  token,
  [answer.kind]: answer.kind === 'nack' ? nackOf(answer) : true,
});

/** Answers one event in a call of its own: no new ones come with it. */
export async function answerEvent(wire: Wire, { token, answer }: AnsweredEvent, signal: AbortSignal): Promise<void> {
  const response = await wire.send({
    method: 'POST',
    path: routePath(answerRoutes[answer.kind], { token }),
    headers: json(),
    body: utf8(JSON.stringify(answer.kind === 'nack' ? nackOf(answer) : {})),
    signal,
    headersTimeoutMs: answerGraceMs,
  });
  await response.body?.cancel();
}

const json = (): Headers => new Headers({ 'Content-Type': 'application/json' });
