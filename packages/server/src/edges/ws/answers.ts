// reply, fail, release, progress, extend: what workers say of their leases. The answers that come in one turn are recorded in one commit, together
// with the next leases.
import { WaitlessError } from '@waitless/protocol';
import type { BodyBudget } from '../../core/body-budget.ts';
import { progressJson } from '../../core/document.ts';
import type { Answer } from '../../core/lifecycle.ts';
import { type LeaseAnswer, type Reply, settleError } from '../../core/reply.ts';
import type { ProgressReport, SettleOutcome } from '../../engine/engine.ts';
import { isoTime } from '../../lib/clock.ts';
import {
  failFields,
  leaseMsIn,
  progressFields,
  readFail,
  readProgress,
  readReply,
  replyFields,
} from '../json/lease-answers.ts';
import { Shape } from '../json/shape.ts';
import type { Frame } from './read-frames.ts';
import type { Session } from './session.ts';
import type { Workers } from './workers.ts';

interface Waiting {
  session: Session;
  ref: string | undefined;
  token: string;
  answer: Answer;
  held: ReturnType<Workers['free']>;
}

const mostTokenCharacters = 256;
/** Larger than any message. */
const mostBase64 = 1024 * 1024;

const bytesOf = (answer: Answer): number => (answer.kind === 'response' ? answer.response.body.length : 0);

const noLease = (): WaitlessError => new WaitlessError('not-found', 'no lease has this token');

export class Answers {
  readonly #reply: Reply;
  readonly #budget: BodyBudget;
  #waiting: Waiting[] = [];

  constructor({ reply, budget }: { reply: Reply; budget: BodyBudget }) {
    this.#reply = reply;
    this.#budget = budget;
  }

  readonly reply = (session: Session, frame: Frame): void => {
    const { at, body } = frame;
    const shape = shapeOf(withHeaders(frame), replyFields);
    this.#take(session, frame, { shape, answer: readReply(shape, { at, body, mostBytes: mostBase64 }) });
  };

  readonly fail = (session: Session, frame: Frame): void => {
    const shape = shapeOf(frame, failFields);
    this.#take(session, frame, { shape, answer: readFail(shape) });
  };

  readonly release = (session: Session, frame: Frame): void => {
    this.#take(session, frame, { shape: shapeOf(frame, []), answer: { kind: 'released' } });
  };

  /** The place of the lease is free from now on. */
  #take(session: Session, { ref }: Frame, { shape, answer }: { shape: Shape; answer: Answer }): void {
    const token = shape.needText('token', { most: mostTokenCharacters });
    this.#budget.take(bytesOf(answer));
    session.connection.begin();
    if (this.#waiting.length === 0) setImmediate(() => void this.#flush());
    this.#waiting.push({ session, ref, token, answer, held: session.workers.free(token) });
  }

  async #flush(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    const reply = this.#reply;
    const leases = await Promise.all(
      waiting.map(({ session, token }) =>
        reply.leaseOf(token, session.connection.namespace).catch((error: unknown) => error as Error),
      ),
    );
    const answers: LeaseAnswer[] = [];
    const sessions = new Set<Session>();
    for (const [i, { session, answer }] of waiting.entries()) {
      const lease = leases[i];
      if (lease && !(lease instanceof Error)) answers.push({ ...lease, serviceName: lease.at.service, answer });
      sessions.add(session);
    }
    // The answers first, the next leases in the same turn: they share a commit.
    const settling = reply.settle(answers);
    for (const { workers } of sessions) workers.refill();
    let outcomes: SettleOutcome[] | undefined;
    let failure: unknown;
    try {
      outcomes = await settling;
    } catch (error) {
      failure = error;
    }
    let next = 0;
    for (const [i, one] of waiting.entries()) {
      const lease = leases[i];
      this.#budget.release(bytesOf(one.answer));
      const outcome = lease && !(lease instanceof Error) ? (outcomes?.[next++] ?? failure) : lease;
      tell(one, outcome);
    }
  }

  readonly extend = (session: Session, frame: Frame): Promise<void> => {
    const shape = shapeOf(frame, ['leaseSeconds']);
    return this.#extend(session, frame, { shape, leaseMs: leaseMsIn(shape), progress: null });
  };

  readonly progress = (session: Session, frame: Frame): Promise<void> => {
    const shape = shapeOf(frame, progressFields);
    return this.#extend(session, frame, { shape, leaseMs: undefined, progress: readProgress(shape, frame.data) });
  };

  async #extend(
    { connection }: Session,
    { ref }: Frame,
    { shape, leaseMs, progress }: { shape: Shape; leaseMs: number | undefined; progress: ProgressReport | null },
  ): Promise<void> {
    const token = shape.needText('token', { most: mostTokenCharacters });
    const members = `,"token":${JSON.stringify(token)}`;
    connection.begin();
    try {
      const lease = await this.#reply.leaseOf(token, connection.namespace);
      if (!lease) throw noLease();
      const { leaseUntil, progressSequence } = await this.#reply.extend(lease, { leaseMs, progress });
      const told = progress && progressJson({ sequence: progressSequence, ...progress });
      connection.ok(ref, `,"expiresAt":"${isoTime(leaseUntil)}"${told === null ? '' : `,"progress":${told}`}`);
    } catch (error) {
      connection.failGuess(error, { ref, guess: token, members });
    } finally {
      connection.done();
    }
  }
}

function tell({ session: { connection, workers }, ref, token, held }: Waiting, outcome: unknown): void {
  connection.done();
  const members = `,"token":${JSON.stringify(token)}`;
  // The token of a request that nobody keeps answers to nothing, and that is right.
  if (held && held.token === undefined) return connection.ok(ref, ',"status":"recorded"');
  if (outcome === undefined) return connection.failGuess(noLease(), { ref, guess: token, members });
  const error = isOutcome(outcome) ? settleError(outcome) : outcome;
  if (error === undefined) return connection.ok(ref, `,"status":"${(outcome as SettleOutcome).kind}"`);
  if (held && (!(error instanceof WaitlessError) || error.status >= 500)) workers.keep(token, held);
  connection.fail(error, ref, members);
}

const isOutcome = (outcome: unknown): outcome is SettleOutcome =>
  typeof outcome === 'object' && outcome !== null && 'kind' in outcome;

const shapeOf = ({ value, at }: Frame, fields: readonly string[]): Shape => new Shape(value, at, ['token', ...fields]);

/** The header fields of a reply are few and of no further meaning here. */
function withHeaders(frame: Frame): Frame {
  if (frame.headers === undefined) return frame;
  return { ...frame, value: { ...frame.value, headers: JSON.parse(frame.headers.toString('utf8')) as unknown } };
}
