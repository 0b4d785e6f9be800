// ack, nack, release, extend: what workers say of the events that they hold. The answers that come in one turn, on whichever connections, are recorded in one
// commit, before the next events are taken.
import { WaitlessError } from '@waitless/protocol';
import { type EventTokens, ofAnEvent } from '../../core/event-tokens.ts';
import { type AnsweredEvent, type EventAnswer, eventSettleError, type Pull } from '../../core/pull.ts';
import type { EventSettleOutcome } from '../../engine/subscriptions.ts';
import { isoTime } from '../../lib/clock.ts';
import { nackFields, readNack } from '../json/event-lease.ts';
import { leaseMsIn } from '../json/lease-answers.ts';
import { Shape } from '../json/shape.ts';
import type { Connection } from './connection.ts';
import type { Frame } from './read-frames.ts';
import type { Session } from './session.ts';
import type { Workers } from './workers.ts';

interface Waiting {
  session: Session;
  ref: string | undefined;
  token: string;
  answer: EventAnswer;
  held: ReturnType<Workers['free']>;
}

type FrameHandler = (session: Session, frame: Frame) => void | Promise<void>;

const mostTokenCharacters = 256;

export class EventAnswers {
  readonly #pull: Pick<Pull, 'settle' | 'extend'>;
  readonly #tokens: EventTokens;
  #waiting: Waiting[] = [];

  constructor({ pull, eventTokens }: { pull: Pick<Pull, 'settle' | 'extend'>; eventTokens: EventTokens }) {
    this.#pull = pull;
    this.#tokens = eventTokens;
  }

  /** Frames that leases of operations have too, or alone: the token tells which it is. */
  either(ofOperation: FrameHandler, ofEvent: FrameHandler = this.#refuse): FrameHandler {
    return (session, frame) => {
      const { token } = frame.value;
      const isOfEvent = typeof token === 'string' && this.#tokens.isOfEvent(token);
      return (isOfEvent ? ofEvent : ofOperation)(session, frame);
    };
  }

  readonly #refuse = ({ connection }: Session, { ref, value }: Frame): void => {
    this.#fail(connection, { ref, token: value['token'] as string, error: ofAnEvent() });
  };

  readonly ack = (session: Session, frame: Frame): void => {
    this.#take(session, frame, { shape: shapeOf(frame, []), answer: { kind: 'ack' } });
  };

  readonly nack = (session: Session, frame: Frame): void => {
    const shape = shapeOf(frame, nackFields);
    this.#take(session, frame, { shape, answer: readNack(shape) });
  };

  readonly release = (session: Session, frame: Frame): void => {
    this.#take(session, frame, { shape: shapeOf(frame, []), answer: { kind: 'released' } });
  };

  /** The place of the lease is free from now on; that of an operation's lease is not. */
  #take(session: Session, { ref }: Frame, { shape, answer }: { shape: Shape; answer: EventAnswer }): void {
    const token = shape.needText('token', { most: mostTokenCharacters });
    const held = this.#tokens.isOfEvent(token) ? session.workers.free(token) : undefined;
    session.connection.begin();
    if (this.#waiting.length === 0) setImmediate(() => void this.#flush());
    this.#waiting.push({ session, ref, token, answer, held });
  }

  async #flush(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    let outcomes: (EventSettleOutcome | undefined)[];
    try {
      outcomes = await this.#record(waiting);
    } catch (error) {
      for (const one of waiting) {
        one.session.connection.done();
        if (one.held && !(error instanceof WaitlessError && error.status < 500))
          one.session.workers.keep(one.token, one.held);
        one.session.connection.fail(error, one.ref, memberOf(one.token));
      }
      return;
    }
    for (const [i, one] of waiting.entries()) this.#tell(one, outcomes[i]);
  }

  /** Undefined for what is no lease of an event here. */
  async #record(waiting: readonly Waiting[]): Promise<(EventSettleOutcome | undefined)[]> {
    const leases = await this.#tokens.leasesOf(
      waiting.map(({ session, token }) => ({ token, namespace: session.connection.namespace })),
    );
    const answers: AnsweredEvent[] = [];
    for (const [i, { answer }] of waiting.entries()) {
      const lease = leases[i];
      if (lease) answers.push({ lease, answer });
    }
    // The answers first, the next events in the same turn.
    const settling = this.#pull.settle(answers);
    for (const { workers } of new Set(waiting.map(({ session }) => session))) workers.refill();
    const outcomes = await settling;
    let next = 0;
    return leases.map((lease) => (lease ? outcomes[next++] : undefined));
  }

  #tell({ session: { connection }, ref, token }: Waiting, outcome: EventSettleOutcome | undefined): void {
    connection.done();
    if (!outcome) return this.#fail(connection, { ref, token, error: this.#tokens.noLease(token) });
    const error = eventSettleError(outcome);
    if (error) connection.fail(error, ref, memberOf(token));
    else connection.ok(ref, `,"status":"${outcome.kind}"`);
  }

  /** What was issued here is not guessed: a subscription may have been removed while somebody held a thousand of its events. */
  #fail(
    connection: Connection,
    { ref, token, error }: { ref: string | undefined; token: string; error: unknown },
  ): void {
    const members = memberOf(token);
    if (this.#tokens.isOfEvent(token)) connection.fail(error, ref, members);
    else connection.failGuess(error, { ref, guess: token, members });
  }

  readonly extend = async ({ connection }: Session, frame: Frame): Promise<void> => {
    const { ref } = frame;
    const shape = shapeOf(frame, ['leaseSeconds']);
    const leaseMs = leaseMsIn(shape);
    const token = shape.needText('token', { most: mostTokenCharacters });
    connection.begin();
    try {
      const [lease] = await this.#tokens.leasesOf([{ token, namespace: connection.namespace }]);
      if (!lease) throw this.#tokens.noLease(token);
      connection.ok(ref, `,"expiresAt":"${isoTime(await this.#pull.extend(lease, leaseMs))}"`);
    } catch (error) {
      this.#fail(connection, { ref, token, error });
    } finally {
      connection.done();
    }
  };
}

const memberOf = (token: string): string => `,"token":${JSON.stringify(token)}`;

const shapeOf = ({ value, at }: Frame, fields: readonly string[]): Shape => new Shape(value, at, ['token', ...fields]);
