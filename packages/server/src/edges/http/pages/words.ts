// States and times in words, and commands as a shell takes them.
import type { Operation } from '@waitless/protocol';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** A length of time in its largest unit, rounded down: `12 s`, `3 min`, `5 h`, `2 days`. */
export function roughly(ms: number): string {
  const days = Math.floor(ms / day);
  if (days >= 1) return days === 1 ? '1 day' : `${days} days`;
  if (ms >= hour) return `${Math.floor(ms / hour)} h`;
  if (ms >= minute) return `${Math.floor(ms / minute)} min`;
  return `${Math.max(0, Math.floor(ms / second))} s`;
}

/** How long ago an RFC 3339 time was; clocks may differ by a little, so what lies ahead is `just now`. */
export function age(time: string, nowMs: number): string {
  const ms = nowMs - Date.parse(time);
  if (Number.isNaN(ms)) return '';
  return ms < second ? 'just now' : `${roughly(ms)} ago`;
}

/** What an operation is doing: the state itself, and what there is to add. */
export function stateInWords(operation: Operation, nowMs: number): { state: string; note: string | undefined } {
  const { status, attempt, maxAttempts, progress, error, runAt, startedAt, finishedAt } = operation;
  const attempts =
    attempt > 1 || (status === 'running' && maxAttempts > 1) ? `attempt ${attempt} of ${maxAttempts}` : undefined;
  const list = (...parts: (string | undefined)[]): string | undefined =>
    parts.filter((part) => part !== undefined && part !== '').join(', ') || undefined;
  switch (status) {
    case 'queued': {
      const aheadMs = runAt === null ? 0 : Date.parse(runAt) - nowMs;
      const when = aheadMs >= second ? `in ${roughly(aheadMs)}` : undefined;
      if (attempt > 0)
        return { state: 'waiting to try again', note: list(when, `${attempt} of ${maxAttempts} attempts used`) };
      return { state: 'waiting to start', note: when };
    }
    case 'running':
      return {
        state: 'running',
        note: list(
          progress?.percent === undefined ? undefined : `${Math.round(progress.percent)} %`,
          progress?.stage,
          progress?.message,
          attempts,
        ),
      };
    case 'succeeded':
      return {
        state: 'done',
        note: list(startedAt && finishedAt ? `took ${took(startedAt, finishedAt)}` : undefined, attempts),
      };
    case 'failed':
      return { state: 'failed', note: list(error?.code, attempts) };
    case 'cancelled':
      return { state: 'cancelled', note: undefined };
  }
}

function took(from: string, to: string): string {
  const ms = Math.max(0, Date.parse(to) - Date.parse(from));
  if (Number.isNaN(ms)) return '';
  return lasting(ms);
}

/** A length of time as long as it takes to see a difference: `120 ms`, `1.8 s`, `42 s`, `3 min`. */
export const lasting = (ms: number): string =>
  ms < second ? `${Math.round(ms)} ms` : ms < 10 * second ? `${(ms / second).toFixed(1)} s` : roughly(ms);

/** A word of a POSIX shell command, quoted where it must be. */
export const shellWord = (word: string): string =>
  /^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
