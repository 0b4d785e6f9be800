// Gathers calls that arrive together into one statement, so that they share a commit and its sync.
//
// While as many statements are under way as allowed, the next batch gathers: a lone call goes at once, and a busy store gets large batches.
import { WaitlessError } from '@waitless/protocol';
import { extraMs } from './connections.ts';
import { isDataError, isTransient, notAnswered, notReached, toCallerError } from './errors.ts';

export interface BatcherOptions<Item, Outcome> {
  /** Carries out a batch; outcomes in the order of the items. */
  run: (items: readonly Item[]) => Promise<Outcome[]>;
  /** Statements under way at once. */
  parallel: number;
  maxItems: number;
  /** The items of a call are never divided, however many they are: they are one commit. Not together with `keyOf`, which takes items out of their call. */
  wholeCalls?: true;
  /** Two items with the same key are never under way at once: the second goes after the first. */
  keyOf?: (item: Item) => string | number | null;
  bytesOf?: (item: Item) => number;
  /** What an item gets that the database refuses for what is in it. */
  refused: (error: WaitlessError) => Outcome;
}

interface Entry<Item, Outcome> {
  item: Item;
  call: Call<Outcome>;
  index: number;
}

interface Call<Outcome> {
  outcomes: Outcome[];
  missing: number;
  bytes: number;
  /** performance.now() after which the caller is told that the database does not answer. */
  lateAt: number;
  /** How many of its items went into a statement. */
  sent: number;
  over: boolean;
  resolve(outcomes: Outcome[]): void;
  reject(error: Error): void;
}

/** Within five seconds a caller hears something, however many statements hang before its own; the rest is for a busy machine. */
const answerWithinMs = 4000;
const watchMs = 250;
/** A deadlock or a lock in the way is tried again this often; more would hide that something is wrong. */
const tries = 5;
/** Bodies in one statement: more and a parameter grows to tens of megabytes, less and large requests never share a commit. */
const maxBytes = 4 * 1024 * 1024;

export class Batcher<Item, Outcome> {
  readonly #options: BatcherOptions<Item, Outcome>;
  #waiting: Entry<Item, Outcome>[] = [];
  readonly #calls = new Set<Call<Outcome>>();
  readonly #keysUnderWay = new Set<string | number>();
  #running = 0;
  #scheduled = false;
  #watch: NodeJS.Timeout | undefined;

  constructor(options: BatcherOptions<Item, Outcome>) {
    this.#options = options;
  }

  /** @param since performance.now() from when the caller has been waiting, where that is not now */
  call(items: readonly Item[], since = performance.now()): Promise<Outcome[]> {
    if (items.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const bytes = this.#bytesOf(items);
      const call: Call<Outcome> = {
        outcomes: [],
        missing: items.length,
        bytes,
        lateAt: since + answerWithinMs + extraMs(bytes),
        sent: 0,
        over: false,
        resolve,
        reject,
      };
      this.#calls.add(call);
      for (const [index, item] of items.entries()) this.#waiting.push({ item, call, index });
      this.#watch ??= setInterval(() => this.#rejectLate(), watchMs);
      this.#schedule();
    });
  }

  #bytesOf(items: readonly Item[]): number {
    const { bytesOf } = this.#options;
    return bytesOf ? items.reduce((sum, item) => sum + bytesOf(item), 0) : 0;
  }

  /** Everything asked in one turn of the event loop goes together. */
  #schedule(): void {
    if (this.#scheduled || this.#running >= this.#options.parallel) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      while (this.#running < this.#options.parallel) {
        const entries = this.#take();
        if (entries.length === 0) return;
        this.#send(entries);
      }
    });
  }

  #take(): Entry<Item, Outcome>[] {
    const { maxItems, wholeCalls, keyOf, bytesOf } = this.#options;
    const taken: Entry<Item, Outcome>[] = [];
    const left: Entry<Item, Outcome>[] = [];
    const keys = this.#keysUnderWay;
    let bytes = 0;
    for (const [at, entry] of this.#waiting.entries()) {
      if (entry.call.over) continue;
      const more = bytesOf?.(entry.item) ?? 0;
      // Of a call that stays whole its first item is judged, for all of them.
      const next = wholeCalls ? { items: entry.call.missing, bytes: entry.call.bytes } : { items: 1, bytes: more };
      const isFull = taken.length + next.items > maxItems || bytes + next.bytes > maxBytes;
      if (isFull && taken.length > 0 && !(wholeCalls && entry.index > 0)) {
        for (let i = at; i < this.#waiting.length; i++) left.push(this.#waiting[i]!);
        break;
      }
      const key = keyOf?.(entry.item) ?? null;
      if (key !== null && keys.has(key)) {
        left.push(entry);
        continue;
      }
      if (key !== null) keys.add(key);
      bytes += more;
      taken.push(entry);
    }
    this.#waiting = left;
    return taken;
  }

  #send(entries: Entry<Item, Outcome>[]): void {
    this.#running++;
    for (const { call } of entries) call.sent++;
    void this.#runAll(entries).finally(() => {
      this.#running--;
      const { keyOf } = this.#options;
      if (keyOf) {
        for (const { item } of entries) {
          const key = keyOf(item);
          if (key !== null) this.#keysUnderWay.delete(key);
        }
      }
      if (this.#waiting.length > 0) this.#schedule();
    });
  }

  async #runAll(entries: Entry<Item, Outcome>[]): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        const outcomes = await this.#options.run(entries.map((entry) => entry.item));
        for (const [i, entry] of entries.entries()) this.#settle(entry, outcomes[i]!);
        return;
      } catch (error) {
        if (isTransient(error) && attempt < tries) continue;
        if (!isDataError(error)) return this.#rejectAll(entries, toCallerError(error, { sent: true }));
        if (entries.length === 1)
          return this.#settle(entries[0]!, this.#options.refused(toCallerError(error, { sent: true })));
        // One row spoils the statement: halves, until it is alone.
        const middle = entries.length >> 1;
        await this.#runAll(entries.slice(0, middle));
        return this.#runAll(entries.slice(middle));
      }
    }
  }

  #settle({ call, index }: Entry<Item, Outcome>, outcome: Outcome): void {
    call.outcomes[index] = outcome;
    if (--call.missing === 0) this.#end(call, () => call.resolve(call.outcomes));
  }

  #rejectAll(entries: readonly Entry<Item, Outcome>[], error: WaitlessError): void {
    const here = new Map<Call<Outcome>, number>();
    for (const { call } of entries) here.set(call, (here.get(call) ?? 0) + 1);
    // Of one whose other items went elsewhere it cannot be said that nothing was accepted.
    for (const [call, count] of here) this.#end(call, () => call.reject(call.sent === count ? error : notAnswered()));
  }

  #end(call: Call<Outcome>, tell: () => void): void {
    if (call.over) return;
    call.over = true;
    this.#calls.delete(call);
    if (this.#calls.size === 0) {
      clearInterval(this.#watch);
      this.#watch = undefined;
    }
    tell();
  }

  #rejectLate(): void {
    const now = performance.now();
    for (const call of this.#calls)
      if (call.lateAt <= now) this.#end(call, () => call.reject(call.sent > 0 ? notAnswered() : notReached()));
  }
}
