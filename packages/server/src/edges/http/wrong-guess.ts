// A refusal of something secret that the path does not name: whoever tries one after the other is slowed down as with ids and lease tokens.
import { type ErrorCode, WaitlessError } from '@waitless/protocol';

export class WrongGuess extends WaitlessError {
  /** What was tried. */
  readonly guess: string;

  constructor(
    code: ErrorCode,
    { detail, guess, members }: { detail: string; guess: string; members?: Record<string, unknown> },
  ) {
    super(code, detail, members === undefined ? {} : { members });
    this.guess = guess;
  }
}
