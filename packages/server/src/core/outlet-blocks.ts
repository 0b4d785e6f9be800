// How long each outlet was left alone the last time, so that the next pause is twice as long. The store knows whether it is left alone, and until when.
import { firstBlockMs, longestBlockMs } from './delivery-rules.ts';

interface Block {
  until: number;
  ms: number;
}

/** After a try showed that an outlet is dead it is believed for so long; each notice more that is given up without a try shows nothing new. */
const believedMs = 60_000;

/** Those that were blocked longest ago are forgotten first, and begin with a short pause again. */
const mostBlocks = 10_000;

export class OutletBlocks {
  readonly #blocks = new Map<string, Block>();
  readonly #deadUntil = new Map<string, number>();

  /** Until when an outlet is to be left alone if it has failed once too often by now. */
  blockUntil(outlet: string, { nowMs, askedMs }: { nowMs: number; askedMs: number }): number {
    const last = this.#blocks.get(outlet);
    const asked = Math.min(askedMs, longestBlockMs);
    // Others that were under way when it was blocked say nothing new.
    if (last && nowMs < last.until) return Math.max(last.until, nowMs + asked);
    return nowMs + Math.max(asked, last ? Math.min(last.ms * 2, longestBlockMs) : firstBlockMs);
  }

  /** What the store has written. */
  told(outlet: string, { blockedUntil }: { blockedUntil: number | null }, nowMs: number): void {
    const last = this.#blocks.get(outlet);
    if (blockedUntil === null) {
      this.#blocks.delete(outlet);
      this.#deadUntil.delete(outlet);
    } else if (blockedUntil > nowMs && blockedUntil !== last?.until) {
      this.#blocks.delete(outlet);
      this.#blocks.set(outlet, { until: blockedUntil, ms: blockedUntil - nowMs });
      forgetOldest(this.#blocks);
    }
  }

  /** It was left alone about as long as may be, and so has failed for a while, whatever stood still before. */
  hasLongFailed(outlet: string): boolean {
    return (this.#blocks.get(outlet)?.ms ?? 0) > longestBlockMs / 2;
  }

  /** A try that had waited too long has failed. */
  foundDead(outlet: string, nowMs: number): void {
    this.#deadUntil.delete(outlet);
    this.#deadUntil.set(outlet, nowMs + believedMs);
    forgetOldest(this.#deadUntil);
  }

  isDead(outlet: string, nowMs: number): boolean {
    return nowMs < (this.#deadUntil.get(outlet) ?? 0);
  }
}

function forgetOldest(map: Map<string, unknown>): void {
  for (const oldest of map.keys()) {
    if (map.size <= mostBlocks) return;
    map.delete(oldest);
  }
}
