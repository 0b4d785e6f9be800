// What requests that share were answered lately, in the server's own thread: to be answered so again costs no message to the store's.
//
// Never staler than the store: every commit that changes what is stored or under way for a share names it in the message that tells of the commit, and
// that message comes before any answer that could show the change. Only this process writes the file, so nobody else can.
import type {
  AtHand,
  OperationRecord,
  Queue,
  Sharing,
  StoredResult,
  Submission,
  SubmitOutcome,
} from '../../engine/engine.ts';
import { judgeShare } from '../../engine/sharing.ts';

/** Bytes of answers held. Less and a few hundred pages of 100 KB push each other out; more is memory that a small machine lacks. */
const mostBytes = 16 * 1024 * 1024;
/** What an entry costs beside its body and header text. */
const entryBytes = 1024;

interface Entry {
  answer: AtHand;
  bytes: number;
}

const sizeOf = ({ result }: StoredResult): number =>
  entryBytes + (result.body?.length ?? 0) + 2 * result.headers.reduce((sum, text) => sum + text.length, 0);

/** Whoever asks like this is answered as others are: by what is valid, else by what is under way, else by new work. */
const takesWhatIsThere = ({ use, maxAgeMs, onlyStored }: Sharing): boolean =>
  use === 'stored' && maxAgeMs === null && !onlyStored;

/** What an outcome means to the next one who asks the same. A delayed operation is for nobody else to wait for. */
function answerOf(s: Submission, outcome: SubmitOutcome, queue: Queue): AtHand | undefined {
  if (outcome.kind === 'joined') return outcome;
  if (outcome.kind === 'stored')
    return outcome.refreshing || outcome.stored.result.body === null
      ? undefined
      : { kind: 'stored', stored: outcome.stored };
  if (outcome.kind !== 'new' || s.runAt > s.createdAt) return undefined;
  return { kind: 'joined', operation: newRecord(s, outcome.seq, queue) };
}

/** An operation as it stands when it has just been accepted. */
const newRecord = (s: Submission, seq: number, { id, namespace, service }: Queue): OperationRecord => ({
  seq,
  nonce: s.nonce,
  queue: id,
  namespace,
  service,
  status: 'queued',
  version: 1,
  attempt: 0,
  leaseNo: 0,
  correlationId: s.correlationId,
  labels: s.labels,
  createdAt: s.createdAt,
  updatedAt: s.createdAt,
  startedAt: null,
  finishedAt: null,
  runAt: null,
  deadlineAt: s.deadlineAt,
  attemptAt: null,
  worker: null,
  expiresAt: null,
  error: null,
  progress: null,
  reference: null,
  key: s.key,
});

export const shareName = (queue: number, share: string): string => `${queue}/${share}`;

export class KnownAnswers {
  /** Oldest use first. */
  readonly #entries = new Map<string, Entry>();
  /** By share: the answer that is on its way. */
  readonly #coming = new Map<string, Promise<AtHand | undefined>>();
  #bytes = 0;

  /** The answer to a submit without an idempotency key, if it is here. A stale result is not: the store has to begin its refresh. */
  find({ queue, sharing }: { queue: number; sharing: Sharing }, nowMs: number): AtHand | undefined {
    if (this.#entries.size === 0) return undefined;
    const name = shareName(queue, sharing.share);
    const entry = this.#entries.get(name);
    if (!entry) return undefined;
    const { answer } = entry;
    const joins = answer.kind === 'joined';
    const verdict = judgeShare(
      sharing,
      {
        running: joins ? { untouched: false } : null,
        stored: joins
          ? null
          : { storedAt: answer.stored.storedAt, freshUntil: answer.stored.freshUntil, staleUntil: null },
      },
      nowMs,
    );
    if (verdict.kind !== (joins ? 'join' : 'serve')) return undefined;
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    return answer;
  }

  /** The answer to another submit that is on its way from the store and will do for this one; undefined where there is none. */
  coming({ queue, sharing }: { queue: number; sharing: Sharing }): Promise<AtHand | undefined> | undefined {
    return this.#coming.size > 0 && takesWhatIsThere(sharing)
      ? this.#coming.get(shareName(queue, sharing.share))
      : undefined;
  }

  /** A submission is on its way to the store: those who come until its answer is there need not go as well. */
  expect(submission: Submission, outcome: Promise<SubmitOutcome>, queue: Queue): void {
    const { sharing } = submission;
    if (sharing === null || !takesWhatIsThere(sharing) || submission.runAt > submission.createdAt) return;
    const name = shareName(submission.queue, sharing.share);
    if (this.#coming.has(name)) return;
    const coming = outcome.then(
      (told) => {
        this.#coming.delete(name);
        return answerOf(submission, told, queue);
      },
      () => void this.#coming.delete(name),
    );
    this.#coming.set(name, coming as Promise<AtHand | undefined>);
  }

  /** The store has answered a submission with this. */
  learn(submission: Submission, outcome: SubmitOutcome, of: Queue): void {
    const { sharing, queue } = submission;
    if (sharing === null) return;
    const answer = answerOf(submission, outcome, of);
    // What is joined only by one who would have taken a stored result: another one that is still valid may be there for those who would.
    if (!answer || (answer.kind === 'joined' && !takesWhatIsThere(sharing))) return;
    const entry = { answer, bytes: answer.kind === 'stored' ? sizeOf(answer.stored) : entryBytes };
    if (entry.bytes > mostBytes / 16) return;
    const name = shareName(queue, sharing.share);
    this.forget(name);
    this.#entries.set(name, entry);
    this.#bytes += entry.bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= mostBytes) break;
      this.forget(oldest);
    }
  }

  /** What is stored or under way for the share has changed. */
  forget(name: string): void {
    const entry = this.#entries.get(name);
    if (!entry) return;
    this.#entries.delete(name);
    this.#bytes -= entry.bytes;
  }

  get bytes(): number {
    return this.#bytes;
  }
}
