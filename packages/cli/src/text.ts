// Words for people: times, safe text from elsewhere, lines that can be pasted into a shell.
import { stripVTControlCharacters } from 'node:util';

/** Text from a backend or server without control characters: it must not move the cursor or forge a line of ours. */
export function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return stripVTControlCharacters(text).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
}

/** Text with `***` for the password of every address in it: people put addresses in the wrong place, and messages quote what is wrong. */
export const withoutPasswords = (text: string): string => text.replace(/(:\/\/[^\s:@]*:)\S*@/g, '$1***@');

/** `40 ms`, `1.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function span(ms: number): string {
  if (ms < 999.5) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1_000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const parts = (big: number, bigUnit: string, small: number, smallUnit: string): string =>
    small === 0 ? `${big} ${bigUnit}` : `${big} ${bigUnit} ${small} ${smallUnit}`;
  if (whole < 3_600) return parts(Math.floor(whole / 60), 'min', whole % 60, 's');
  if (whole < 86_400) return parts(Math.floor(whole / 3_600), 'h', Math.floor((whole % 3_600) / 60), 'min');
  return parts(Math.floor(whole / 86_400), 'd', Math.floor((whole % 86_400) / 3_600), 'h');
}

/** One word of a POSIX shell, quoted only where it must be. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A line to paste: `npx waitless` and these words. */
export const commandLine = (...words: readonly string[]): string => ['npx waitless', ...words.map(shellWord)].join(' ');

/** `12 kB`, `3.4 MB`, `1.2 GB`, of a thousand each. */
export function shownBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'] as const;
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const value = bytes / 1000 ** step;
  return `${step > 1 && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[step]!}`;
}
