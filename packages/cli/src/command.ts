// What a file under commands/ exports: main.ts knows commands only by this shape.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '@waitless/protocol';
import type { Output } from './output.ts';
import type { Terminal } from './terminal.ts';

export interface CommandContext {
  terminal: Terminal;
  output: Output;
  /** Sets the exit code of a command that ran to its end. */
  exit: (code: number) => void;
}

export interface CommandModule {
  name: string;
  /** One line in the list of commands. */
  summary: string;
  /** Adds arguments, options, examples and the action. Called only for the command that was typed, so what it imports costs the others nothing. */
  define: (command: Command, context: CommandContext) => void | Promise<void>;
}

/** Examples stand before everything else in the help text. */
export function examples(command: Command, lines: readonly string[]): void {
  command.addHelpText('before', `Examples:\n${lines.map((line) => `  ${line}\n`).join('')}`);
}

/** `--json`, the same words everywhere. */
export const jsonOption = (what = 'print JSON'): Option => new Option('--json', what);

/** Collects an option that may be given several times. */
export const collect = (value: string, before: readonly string[] | undefined): string[] => [...(before ?? []), value];

/** A duration such as `30s`, kept as it was written. */
export function durationArgument(value: string): string {
  if (parseDuration(value) === undefined)
    throw new InvalidArgumentError('It takes a duration such as 250ms, 30s, 10m, 2h or 7d.');
  return value;
}

/** A whole number in a range. */
export const wholeArgument =
  (min: number, max: number) =>
  (value: string): number => {
    const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= min && number <= max))
      throw new InvalidArgumentError(`It takes a whole number from ${min} to ${max}.`);
    return number;
  };

/** `name=value` pairs of one or several options; the last of a name wins. */
export function labelsOf(pairs: readonly string[] | undefined): Record<string, string> | undefined {
  if (pairs === undefined) return undefined;
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
}

/** Checks and collects `--label name=value`. */
export function collectLabel(value: string, before: readonly string[] | undefined): string[] {
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]*=[\x20-\x2b\x2d-\x7e]{1,255}$/.test(value))
    throw new InvalidArgumentError(
      'It takes name=value: a name of letters, digits, "_" and "-", and ASCII text without a comma.',
    );
  return collect(value, before);
}

/** Stands for a `--wait` without a time. */
export const unlimitedWait = 'unlimited';

/** Milliseconds that `--wait` was given, Infinity for the bare word. */
export function waitArgument(value: string): number {
  if (value === unlimitedWait) return Number.POSITIVE_INFINITY;
  const ms = parseDuration(/^\d+(\.\d+)?$/.test(value) ? `${value}s` : value);
  if (ms === undefined)
    throw new InvalidArgumentError(
      'It takes seconds or a duration such as 30s or 10m, or nothing to wait as long as it takes.',
    );
  return ms;
}

export const waitOption = (): Option =>
  new Option('--wait [SECONDS]', 'wait for the result, at most so long if given').argParser(waitArgument);

/**
 * A bare `--wait` must not take the next word for its seconds: `--wait score` means the service. The word after it
 * counts only when it looks like a time.
 */
export function settleOptionalWait(command: Command, words: readonly string[]): string[] {
  const end = words.includes('--') ? words.indexOf('--') : words.length;
  return words.map((word, index) => {
    if (word !== '--wait' || index >= end) return word;
    const isValueOf = command.options.some(
      (option) => option.required && [option.short, option.long].includes(words[index - 1]),
    );
    const next = words[index + 1];
    const hasTime = next !== undefined && index + 1 < end && /^\d+(\.\d+)?(ms|s|m|h|d)?$/.test(next);
    return isValueOf || hasTime ? word : `--wait=${unlimitedWait}`;
  });
}
