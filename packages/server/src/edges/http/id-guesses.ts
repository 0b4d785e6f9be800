// Slows down whoever asks for ids and tokens that are none, one after another. What is known is answered all the same.
import { WaitlessError } from '@waitless/protocol';
import { idAllowance, KeyGuesses } from '../../lib/key-guesses.ts';
import { limitFields } from '../../lib/rate-limit-fields.ts';
import { WrongGuess } from './wrong-guess.ts';

export class IdGuesses {
  readonly #guesses = new KeyGuesses(() => performance.now(), idAllowance);

  /** An unknown id or token is 404, until its address has tried more of them than anybody has by mistake. */
  judged(
    error: unknown,
    asked: { params: Readonly<Record<string, string | undefined>> | undefined; from: () => string },
  ): unknown {
    if (!(error instanceof WaitlessError)) return error;
    const named = error.code === 'not-found' ? (asked.params?.['id'] ?? asked.params?.['token']) : undefined;
    const guess = error instanceof WrongGuess ? error.guess : named;
    return guess === undefined ? error : this.#slowed(error, guess, asked.from());
  }

  /** For a connection that lives long: nothing of its first request is kept with it. */
  of(address: string): (error: unknown, guess: string) => unknown {
    return (error, guess) => this.#slowed(error, guess, address);
  }

  #slowed(error: unknown, guess: string, from: string): unknown {
    const pauseMs = this.#guesses.pauseMs(from);
    if (pauseMs === 0) {
      this.#guesses.wrong(from, guess);
      return error;
    }
    return new WaitlessError('rate-limited', 'too many different ids that are none were asked for from this address', {
      retryAfterSeconds: Math.ceil(pauseMs / 1000),
      headers: limitFields({ name: 'unknown-ids', quota: this.#guesses.free, remaining: 0, untilMs: pauseMs }),
      cause: error,
    });
  }
}
