// Pages of the log that were read a moment ago, for whoever takes a few events of them at a time: one look at the store then serves many takers.
//
// They are leased to nobody and promised to nobody: a claim decides who gets what, so nothing of them has to be given back, and no other node waits for them.
import type { EventPage } from '../engine/topics.ts';

/** Read from this position on; of these topics there is nothing else up to its `readTo`. */
interface PageAtHand extends EventPage {
  after: number;
  readAt: number;
  bytes: number;
}

/** Of what a page leads on to. */
export interface PagePart extends EventPage {
  /** It was read before, so that the log may be longer by now. */
  isOld: boolean;
}

/** What is published meanwhile is read with the next page, so nobody misses anything by it; but what another node has removed is not given out for longer than this. */
const keptMs = 2000;
/** Of all pages: enough for some dozen subscriptions that are behind, each at a place of its own. */
const mostBytes = 8 * 1024 * 1024;
/** What an event takes beside its text. */
const eventBytes = 200;

export class PagesAtHand {
  /** By namespace and topics, the last one read at the end. */
  readonly #pages = new Map<string, PageAtHand[]>();
  #bytes = 0;

  /** What follows after this position, as far as it is at hand. */
  find(key: string, { after, nowMs }: { after: number; nowMs: number }): PagePart | undefined {
    const page = this.#pages
      .get(key)
      ?.find((one) => one.after <= after && after < one.readTo && nowMs - one.readAt < keptMs);
    if (!page) return undefined;
    const { epoch, events, last, readTo, removedTo } = page;
    const from = firstAfter(events, after);
    if (from === events.length) return undefined;
    return { epoch, events: from === 0 ? events : events.slice(from), last, readTo, removedTo, isOld: true };
  }

  /** Keeps a page that was read after this position, in place of the oldest ones. */
  keep(key: string, { after, page, nowMs }: { after: number; page: EventPage; nowMs: number }): void {
    this.#dropOld(nowMs);
    const bytes = page.events.reduce((sum, { head, body }) => sum + head.length + body.length + eventBytes, 0);
    if (bytes > mostBytes) return;
    while (this.#bytes + bytes > mostBytes) this.#dropFirst();
    // The one that is used again stands last.
    const of = this.#pages.get(key) ?? [];
    this.#pages.delete(key);
    this.#pages.set(key, [...of, { ...page, after, readAt: nowMs, bytes }]);
    this.#bytes += bytes;
  }

  clear(): void {
    this.#pages.clear();
    this.#bytes = 0;
  }

  #dropOld(nowMs: number): void {
    for (const [key, pages] of this.#pages) {
      const kept = pages.filter(({ readAt }) => nowMs - readAt < keptMs);
      if (kept.length < pages.length) this.#put(key, pages, kept);
    }
  }

  #dropFirst(): void {
    for (const [key, pages] of this.#pages) return this.#put(key, pages, pages.slice(1));
  }

  #put(key: string, before: readonly PageAtHand[], pages: PageAtHand[]): void {
    const sum = (of: readonly PageAtHand[]): number => of.reduce((all, { bytes }) => all + bytes, 0);
    this.#bytes += sum(pages) - sum(before);
    if (pages.length === 0) this.#pages.delete(key);
    else this.#pages.set(key, pages);
  }
}

function firstAfter(events: EventPage['events'], position: number): number {
  let [low, high] = [0, events.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (events[middle]!.position <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}
