// Who in this process waits for which operation. A wake-up is a hint: waiters that need the truth re-read the store,
// and a slow poll finds for them what a lost hint did not tell.
import { WaitlessError } from '@waitless/protocol';
import type { Engine, OperationRecord, ResultContent, ResultRecord } from '../engine/engine.ts';
import { limitFields } from '../lib/rate-limit-fields.ts';
import { pause, type Service } from '../lib/service.ts';
import { hasOwnResult } from './lifecycle.ts';

/** What the waker knows. `result` is the very content that was just committed, so the waiter need not read it back. */
export interface News {
  version: number;
  done: boolean;
  result?: ResultContent;
  expiresAt?: number | null;
  /** As it was read, where it was. */
  record?: OperationRecord;
  /** How it ended, where the answer to its lease shows all of it. */
  ended?: Ended;
}

export type Ended = Pick<OperationRecord, 'status' | 'attempt' | 'finishedAt' | 'expiresAt' | 'error' | 'reference'>;

interface Waiter {
  /** Newest version the waiter has seen. */
  version: number;
  onlyDone: boolean;
  wake(news: News | undefined): void;
  /** It reads for itself what a signal from another node is about. */
  looks?: boolean;
  /** Of one who follows: the store has no such operation any more. */
  gone?(): void;
}

/** Somebody who is told of every change of an operation until it lets go. */
export interface Listener {
  /** It is told of the end alone, and need not look for itself where another node has told of it. */
  onlyDone?: boolean;
  /** It may have this version by now, or any later one. */
  changed: (version: number, news: News) => void;
  /** The store may have forgotten it. */
  gone: () => void;
  stopped: () => void;
}

/** How often waiters re-read without a hint: the longest delay a lost hint can cause, against a read per waiter each time. */
const pollMs = 5000;
const pollBatch = 500;
/** Ends that were signalled and nobody waits for yet, remembered in two halves: another node may end an operation before its submitter begins to wait. */
const remembered = 20_000;

const newsOf = (record: OperationRecord): News => ({
  version: record.version,
  done: record.finishedAt !== null,
  expiresAt: record.expiresAt,
  record,
});

export class Live implements Service {
  readonly name = 'live';
  readonly #engine: Pick<Engine, 'recordsOf' | 'result' | 'onSignal'>;
  readonly #waiters = new Map<number, Set<Waiter>>();
  readonly #maxWaiters: number;
  readonly #maxPerNamespace: number;
  readonly #hints: boolean;
  readonly #pollMs: number;
  #count = 0;
  /** Of #count, by namespace. */
  readonly #counts = new Map<string, number>();
  /** Operations that were signalled and are read again at the end of this turn. */
  readonly #signalled = new Set<number>();
  #recent = new Set<number>();
  #before = new Set<number>();
  /** Others that hold a request and must be let go at a stop. A set, because thousands of listeners on one signal are slow to remove. */
  readonly #onStop = new Set<() => void>();
  #stop = new AbortController();
  #loop: Promise<void> | undefined;

  /** @param hints false in the test that proves that nothing depends on them */
  constructor({
    engine,
    maxWaiters,
    maxPerNamespace = maxWaiters,
    hints = true,
    everyMs = pollMs,
  }: {
    engine: Pick<Engine, 'recordsOf' | 'result' | 'onSignal'>;
    maxWaiters: number;
    maxPerNamespace?: number;
    hints?: boolean;
    everyMs?: number;
  }) {
    this.#engine = engine;
    this.#maxWaiters = maxWaiters;
    this.#maxPerNamespace = maxPerNamespace;
    this.#hints = hints;
    this.#pollMs = everyMs;
    if (hints) {
      engine.onSignal((signal) => {
        if (signal.kind === 'operation') this.#onSignal(signal.seq, signal.done);
      });
    }
  }

  #onSignal(seq: number, done: boolean): void {
    const waiters = this.#waiters.get(seq);
    if (waiters) {
      let reads = false;
      for (const waiter of waiters) {
        // Who follows looks by itself.
        if (waiter.looks) waiter.wake({ version: Number.MAX_SAFE_INTEGER, done });
        // A read per step of each operation that somebody wants the end of would cost more than the operation.
        else reads ||= done || !waiter.onlyDone;
      }
      if (reads) this.#readSoon(seq);
    } else if (done) this.remember(seq);
  }

  /** It has ended and nobody waits for it yet: somebody who was just told that it runs may be about to. */
  remember(seq: number): void {
    if (!this.#hints) return;
    if (this.#recent.size >= remembered / 2) [this.#before, this.#recent] = [this.#recent, new Set()];
    this.#recent.add(seq);
  }

  #readSoon(seq: number): void {
    if (this.#signalled.size === 0) setImmediate(() => void this.#readSignalled());
    this.#signalled.add(seq);
  }

  async #readSignalled(): Promise<void> {
    const seqs = [...this.#signalled];
    this.#signalled.clear();
    for (let i = 0; i < seqs.length; i += pollBatch) await this.#readEnded(seqs.slice(i, i + pollBatch));
  }

  /** Reads results along with the records: one look at the store for all that ended together on another node. */
  async #readEnded(seqs: readonly number[]): Promise<void> {
    const results = new Map<number, ResultRecord | undefined>();
    const reading = seqs.map(async (seq) => results.set(seq, await this.#engine.result(seq).catch(() => undefined)));
    const [records] = await Promise.all([this.#recordsOf(seqs), ...reading]);
    for (const record of records) {
      const found = hasOwnResult(record) ? results.get(record.seq) : undefined;
      const result = found?.body ? { result: { ...found, body: found.body } } : {};
      this.#tell(record.seq, { ...newsOf(record), ...result });
    }
  }

  async #readAgain(seqs: readonly number[]): Promise<void> {
    const records = await this.#engine.recordsOf(seqs).catch(() => undefined);
    if (!records) return;
    for (const record of records) this.#tell(record.seq, newsOf(record));
    const found = new Set(records.map(({ seq }) => seq));
    for (const seq of seqs) if (!found.has(seq)) for (const waiter of this.#waiters.get(seq) ?? []) waiter.gone?.();
  }

  /** A store that cannot be read now is read at the next turn; the waiters' own time limits still hold. */
  #recordsOf(seqs: readonly number[]): Promise<OperationRecord[]> {
    return this.#engine.recordsOf(seqs).catch(() => []);
  }

  get waiting(): number {
    return this.#count;
  }

  /** Refuses before anything is stored when there are too many who wait, in all or in this namespace: one must not take the room of all others. */
  ensureRoom(namespace: string): void {
    if (this.#count >= this.#maxWaiters) throw tooMany(this.#maxWaiters, 'requests wait already');
    if ((this.#counts.get(namespace) ?? 0) >= this.#maxPerNamespace)
      throw tooMany(this.#maxPerNamespace, 'requests of this namespace wait already');
  }

  #enter(namespace: string): void {
    this.#count++;
    this.#counts.set(namespace, (this.#counts.get(namespace) ?? 0) + 1);
  }

  #leave(namespace: string): void {
    this.#count--;
    const left = this.#counts.get(namespace)! - 1;
    if (left === 0) this.#counts.delete(namespace);
    else this.#counts.set(namespace, left);
  }

  /** Resolves with the news, or undefined after `timeoutMs`, at a stop, or when the signal aborts. */
  wait(
    seq: number,
    {
      namespace,
      version,
      onlyDone,
      timeoutMs,
      signal,
    }: { namespace: string; version: number; onlyDone: boolean; timeoutMs: number; signal?: AbortSignal },
  ): Promise<News | undefined> {
    if (timeoutMs <= 0 || signal?.aborted || this.#stop.signal.aborted) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const set = this.#waiters.get(seq) ?? new Set<Waiter>();
      const end = (news: News | undefined): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', giveUp);
        if (!set.delete(waiter)) return;
        this.#leave(namespace);
        if (set.size === 0 && this.#waiters.get(seq) === set) this.#waiters.delete(seq);
        resolve(news);
      };
      const giveUp = (): void => end(undefined);
      const waiter: Waiter = { version, onlyDone, wake: end };
      const timer = setTimeout(giveUp, Math.min(timeoutMs, 0x7fffffff));
      signal?.addEventListener('abort', giveUp, { once: true });
      set.add(waiter);
      this.#waiters.set(seq, set);
      this.#enter(namespace);
      if (this.#recent.has(seq) || this.#before.has(seq)) this.#readSoon(seq);
    });
  }

  /** Tells a listener of all that happens to an operation, until the function that this returns is called. It counts for nobody: see `hold`. */
  follow(seq: number, { onlyDone = false, changed, gone, stopped }: Listener): () => void {
    if (this.#stop.signal.aborted) {
      stopped();
      return () => {};
    }
    const waiter: Waiter = {
      version: 0,
      onlyDone,
      looks: !onlyDone,
      wake: (news) => (news ? changed(news.version, news) : stopped()),
      gone,
    };
    const set = this.#waiters.get(seq) ?? new Set<Waiter>();
    set.add(waiter);
    this.#waiters.set(seq, set);
    if (this.#recent.has(seq) || this.#before.has(seq)) this.#readSoon(seq);
    return () => {
      set.delete(waiter);
      if (set.size === 0 && this.#waiters.get(seq) === set) this.#waiters.delete(seq);
    };
  }

  /** Counts somebody who waits in another way than by `wait`, who has made sure that there is room; the answer ends the count. */
  hold(namespace: string): () => void {
    this.#enter(namespace);
    let held = true;
    return () => {
      if (held) this.#leave(namespace);
      held = false;
    };
  }

  /** True when someone here waits for it: lets callers skip the work of telling nobody. */
  has(seq: number): boolean {
    return this.#waiters.has(seq);
  }

  wake(seq: number, news: News): void {
    if (this.#hints) this.#tell(seq, news);
  }

  #tell(seq: number, news: News): void {
    const set = this.#waiters.get(seq);
    if (!set) return;
    for (const waiter of set) if (news.done || (!waiter.onlyDone && news.version > waiter.version)) waiter.wake(news);
  }

  /** Calls `letGo` at a stop, at once where that has begun, unless the function that this returns is called before. */
  onStop(letGo: () => void): () => void {
    if (this.#stop.signal.aborted) letGo();
    else this.#onStop.add(letGo);
    return () => void this.#onStop.delete(letGo);
  }

  start(): Promise<void> {
    this.#stop = new AbortController();
    this.#loop = this.#poll(this.#stop.signal);
    return Promise.resolve();
  }

  /** Lets everyone go with what they would be told at their time limit. */
  async stop(): Promise<void> {
    this.#stop.abort();
    for (const letGo of this.#onStop) letGo();
    for (const set of this.#waiters.values()) for (const waiter of set) waiter.wake(undefined);
    await this.#loop;
  }

  async #poll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(this.#pollMs, signal);
      const seqs = [...this.#waiters.keys()];
      for (let i = 0; i < seqs.length && !signal.aborted; i += pollBatch) {
        await this.#readAgain(seqs.slice(i, i + pollBatch));
      }
    }
  }
}

const tooMany = (quota: number, what: string): WaitlessError =>
  new WaitlessError('too-many-connections', `${quota} ${what}; poll instead of waiting`, {
    retryAfterSeconds: 5,
    headers: limitFields({ name: 'waiting', quota, concurrent: true, remaining: 0, untilMs: 5000 }),
  });
