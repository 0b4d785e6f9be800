// Slows down whoever tries one secret after the other: API keys, ids of operations, tokens of leases. One wrong one sent again and again is a mistake of
// somebody's configuration, or somebody who polls what has expired, not a guess, and slows down nobody.
import { hash } from 'node:crypto';

const firstPauseMs = 1000;
/** Longer would keep honest callers behind the same address away for long; much shorter lets 86,400 guesses pass a day. */
const longestPauseMs = 60_000;
/** Enough to tell some thousand guesses apart; a mix-up lets one guess pass. */
const digestLength = 8;

export interface GuessAllowance {
  /** Wrong ones an address may try before it has to wait: more helps only guessers, fewer stop people who mix things up. */
  free: number;
  /** One of them is forgotten after so long, and may be tried again; absent: never. */
  forgiveMs?: number;
  /** Addresses remembered; the one that was quiet longest is forgotten first. */
  mostAddresses: number;
}

/** Nobody has many API keys to mix up. */
export const keyAllowance: GuessAllowance = { free: 20, mostAddresses: 1000 };
/** A client may come back after days and ask for a list of what has expired; behind one address there may be many of them. */
export const idAllowance: GuessAllowance = { free: 1000, forgiveMs: 1000, mostAddresses: 100 };

interface Guesser {
  /** Digests of the wrong ones tried, never themselves; the oldest first. */
  tried: Set<string>;
  forgivenAt: number;
  pauses: number;
  pauseUntil: number;
}

export class KeyGuesses {
  readonly #now: () => number;
  readonly #allowance: GuessAllowance;
  /** In the order of their last guess. */
  readonly #guessers = new Map<string, Guesser>();

  /** @param now milliseconds that never go back */
  constructor(now: () => number, allowance: GuessAllowance = keyAllowance) {
    this.#now = now;
    this.#allowance = allowance;
  }

  get free(): number {
    return this.#allowance.free;
  }

  /** True while nobody has guessed: the question that every request asks. */
  get quiet(): boolean {
    return this.#guessers.size === 0;
  }

  /** How long this address must wait before another key of it is looked at. */
  pauseMs(address: string): number {
    const guesser = this.#guessers.get(address);
    return guesser ? Math.max(0, guesser.pauseUntil - this.#now()) : 0;
  }

  /** A wrong one came from this address. Each new one beyond the free ones doubles the pause. */
  wrong(address: string, key: string): void {
    const now = this.#now();
    const { free, mostAddresses } = this.#allowance;
    const guesser = this.#guessers.get(address) ?? { tried: new Set(), forgivenAt: now, pauses: 0, pauseUntil: 0 };
    this.#forgive(guesser, now);
    const digest = hash('sha256', key, 'base64url').slice(0, digestLength);
    if (guesser.tried.has(digest)) return;
    this.#guessers.delete(address);
    this.#guessers.set(address, guesser);
    if (this.#guessers.size > mostAddresses) this.#guessers.delete(this.#guessers.keys().next().value!);
    if (guesser.tried.size < free) {
      guesser.tried.add(digest);
      return;
    }
    guesser.pauseUntil = now + Math.min(longestPauseMs, firstPauseMs * 2 ** guesser.pauses);
    guesser.pauses = Math.min(guesser.pauses + 1, 16);
  }

  #forgive(guesser: Guesser, now: number): void {
    const { free, forgiveMs } = this.#allowance;
    if (forgiveMs === undefined) return;
    const due = Math.floor((now - guesser.forgivenAt) / forgiveMs);
    guesser.forgivenAt += due * forgiveMs;
    let left = due;
    for (const digest of guesser.tried) {
      if (left-- <= 0) break;
      guesser.tried.delete(digest);
    }
    // Who has stopped long enough to have half of them back is not guessing any more.
    if (guesser.tried.size <= free / 2) guesser.pauses = 0;
  }
}
