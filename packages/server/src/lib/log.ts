// One wide line per step, as JSON on standard error, so that standard output stays for what people asked for.
import { createRequire } from 'node:module';
import type { Logger } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

type Write = (event: string, fields?: Record<string, unknown>) => void;

/** A level that is off is undefined, so that callers build no fields for it. */
export interface Log {
  debug: Write | undefined;
  info: Write | undefined;
  warn: Write;
  error: Write;
}

/** Longest text in a log field: a header of a megabyte must not become a line of one. */
const longestText = 2000;

function trimmed(fields: Record<string, unknown>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Error)
      out[name] = {
        message: value.message.slice(0, longestText),
        code: (value as { code?: unknown }).code,
        stack: value.stack?.slice(0, longestText),
      };
    else
      out[name] = typeof value === 'string' && value.length > longestText ? `${value.slice(0, longestText)}…` : value;
  }
  return out;
}

const ranks = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 } as const;

/** The library is loaded with the first line that is written: a quiet server starts without it. */
export function createLog(level: LogLevel, destination: { write(line: string): void } = process.stderr): Log {
  let logger: Logger | undefined;
  const load = (): Logger => {
    const { pino } = createRequire(import.meta.url)('pino') as typeof import('pino');
    return pino(
      {
        level,
        base: null,
        timestamp: () => `,"time":"${new Date().toISOString()}"`,
        formatters: { level: (label) => ({ level: label }) },
      },
      destination,
    );
  };
  const isOn = (name: LogLevel): boolean => ranks[name] >= ranks[level];
  const write =
    (name: 'debug' | 'info' | 'warn' | 'error'): Write =>
    (event, fields = {}) => {
      if (isOn(name)) (logger ??= load())[name]({ event, ...trimmed(fields) });
    };
  return {
    debug: isOn('debug') ? write('debug') : undefined,
    info: isOn('info') ? write('info') : undefined,
    warn: write('warn'),
    error: write('error'),
  };
}

export const silentLog: Log = { debug: undefined, info: undefined, warn: () => {}, error: () => {} };
