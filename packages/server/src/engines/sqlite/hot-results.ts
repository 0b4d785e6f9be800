// Stored results that were asked for lately, in the server's own thread: a hit then costs no message to the store's.
//
// Never staler than the store: every commit that changes what is stored under a share names it in the message that tells of the commit, and
// that message comes before any answer that could show the change. Only this process writes the file, so nobody else can.
import type { Sharing, StoredResult, Submission, SubmitOutcome } from '../../engine/engine.ts';
import { judgeShare } from '../../engine/sharing.ts';

/** Bytes of results held. Less and a few hundred pages of 100 KB push each other out; more is memory that a small machine lacks. */
const mostBytes = 16 * 1024 * 1024;
/** What an entry costs beside its body and header text. */
const entryBytes = 1024;

interface Entry {
  stored: StoredResult;
  bytes: number;
}

const sizeOf = ({ result, operation }: StoredResult): number =>
  entryBytes +
  (result.body?.length ?? 0) +
  2 * result.headers.reduce((sum, text) => sum + text.length, 0) +
  2 * JSON.stringify(operation.labels ?? {}).length;

export const shareName = (queue: number, share: string): string => `${queue}/${share}`;

export class HotResults {
  /** Oldest use first. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  /** The stored result that answers a submit, if it is here. A stale one is not: the store has to begin its refresh. */
  answer({ queue, sharing }: { queue: number; sharing: Sharing }, nowMs: number): StoredResult | undefined {
    if (this.#entries.size === 0) return undefined;
    const name = shareName(queue, sharing.share);
    const entry = this.#entries.get(name);
    if (!entry) return undefined;
    const { storedAt, freshUntil } = entry.stored;
    const verdict = judgeShare(sharing, { running: null, stored: { storedAt, freshUntil, staleUntil: null } }, nowMs);
    if (verdict.kind !== 'serve') return undefined;
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    return entry.stored;
  }

  /** The store has answered a submission with this. */
  learn({ sharing, queue }: Submission, outcome: SubmitOutcome): void {
    if (sharing === null || outcome.kind !== 'stored' || outcome.refreshing || outcome.stored.result.body === null)
      return;
    const bytes = sizeOf(outcome.stored);
    if (bytes > mostBytes / 16) return;
    const name = shareName(queue, sharing.share);
    this.forget(name);
    this.#entries.set(name, { stored: outcome.stored, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= mostBytes) break;
      this.forget(oldest);
    }
  }

  /** What is stored under the share has changed. */
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
