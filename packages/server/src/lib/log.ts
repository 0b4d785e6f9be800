// One wide line per step, as JSON on standard error, so that standard output stays for what people asked for.
import { pino } from 'pino';

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

export function createLog(level: LogLevel, destination: { write(line: string): void } = process.stderr): Log {
  const logger = pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  const write =
    (name: 'debug' | 'info' | 'warn' | 'error'): Write =>
    (event, fields = {}) =>
      logger[name]({ event, ...trimmed(fields) });
  return {
    debug: logger.isLevelEnabled('debug') ? write('debug') : undefined,
    info: logger.isLevelEnabled('info') ? write('info') : undefined,
    warn: write('warn'),
    error: write('error'),
  };
}

export const silentLog: Log = { debug: undefined, info: undefined, warn: () => {}, error: () => {} };
