// Slows down whoever tries one API key after the other. One wrong key sent again and again is a mistake of somebody's configuration, not a guess, and slows down nobody.
import { hash } from 'node:crypto';

/** Wrong keys an address may try before it has to wait: more helps only guessers, fewer stop people who mix up their keys. */
const freeGuesses = 20;
const firstPauseMs = 1000;
/** Longer would keep honest callers behind the same address away for long; much shorter lets 86,400 guesses pass a day. */
const longestPauseMs = 60_000;
/** Addresses remembered; the one that was quiet longest is forgotten first. */
const mostAddresses = 1000;

interface Guesser {
  /** Digests of the wrong keys tried, never the keys. */
  tried: Set<string>;
  pauses: number;
  pauseUntil: number;
}

export class KeyGuesses {
  readonly #now: () => number;
  /** In the order of their last guess. */
  readonly #guessers = new Map<string, Guesser>();

  /** @param now milliseconds that never go back */
  constructor(now: () => number) {
    this.#now = now;
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

  /** A wrong key came from this address. Each new one beyond the free ones doubles the pause. */
  wrong(address: string, key: string): void {
    const guesser = this.#guessers.get(address) ?? { tried: new Set(), pauses: 0, pauseUntil: 0 };
    const digest = hash('sha256', key, 'base64url');
    if (guesser.tried.has(digest)) return;
    this.#guessers.delete(address);
    this.#guessers.set(address, guesser);
    if (this.#guessers.size > mostAddresses) this.#guessers.delete(this.#guessers.keys().next().value!);
    if (guesser.tried.size < freeGuesses) {
      guesser.tried.add(digest);
      return;
    }
    guesser.pauseUntil = this.#now() + Math.min(longestPauseMs, firstPauseMs * 2 ** guesser.pauses);
    guesser.pauses = Math.min(guesser.pauses + 1, 16);
  }
}
