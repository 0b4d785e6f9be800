// Why a database cannot be used, as the one sentence a person needs: which, what is wrong, and what to do. https://www.postgresql.org/docs/current/errcodes-appendix.html
import { WaitlessError } from '@waitless/protocol';
import { StoreRefused } from '../../engine/refused.ts';
import type { Address } from './address.ts';
import { NoAnswer } from './session.ts';

/** Where the error came from: before a session began something else than PostgreSQL may have answered. */
export type Stage = 'connecting' | 'preparing';

/** An error of the driver, the network or the database. The messages of all three are shown and hold no password. */
export function refusal(error: unknown, address: Address, stage: Stage): StoreRefused {
  if (error instanceof StoreRefused) return error;
  const cause = error instanceof WaitlessError && error.cause instanceof Error ? error.cause : (error as Error);
  return new StoreRefused(sentence(cause, (cause as { code?: string }).code ?? '', address, stage), { cause });
}

function sentence(error: Error, code: string, { place, user, database, schema }: Address, stage: Stage): string {
  const { message } = error;
  switch (code) {
    case 'ECONNREFUSED':
      return `no PostgreSQL answers at ${place} (connection refused); start it, or mend the address in --data`;
    case 'ENOENT':
      return `no PostgreSQL answers at ${place} (there is no such socket); start it, or mend the address in --data`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the host of ${place} is not known (${code}); mend the address in --data`;
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `${place} cannot be reached (${code}); mend the address in --data, or the network on the way`;
    case '28P01':
    case '28000':
      return `PostgreSQL at ${place} does not let user "${user}" in (${message}); mend user or password in --data, or set PGPASSWORD`;
    case '3D000':
      return `there is no database "${database}" at ${place}; create it (createdb ${database}), or mend the address in --data`;
    case '42501':
      return `user "${user}" may not do what is needed at ${place} (${message}); start once as the owner of schema ${schema} and its tables`;
    case '53300':
      return `PostgreSQL at ${place} has no connection left (${message}); raise max_connections, about 10 for each node`;
    case '57P03':
      return `PostgreSQL at ${place} takes no connections yet (${message}); try again in a moment`;
    case '55P03':
    case '57014':
      return `another process holds the schema at ${place} locked (${message}); see pg_stat_activity, then try again`;
    case '08P01':
      return `${place} does not take what our sessions need (${message}); give the address of PostgreSQL itself, not of a pooler before it`;
  }
  if (error instanceof NoAnswer || message === 'timeout expired')
    return `nothing answers at ${place} (${message}); mend the address in --data, or the network on the way`;
  if (/password must be a string/.test(message))
    return `PostgreSQL at ${place} asks for a password of user "${user}" and none is given; set PGPASSWORD or --data-password-file`;
  if (isEnded(code, message)) {
    return stage === 'connecting'
      ? `what answers at ${place} ended the connection (${message}) and may not be PostgreSQL; mend the address in --data, or see the log of the server`
      : `PostgreSQL at ${place} went away while the store was opened (${message}); nothing half-made is left, start again when it is back`;
  }
  if (/invalid response/.test(message))
    return `what answers at ${place} is not PostgreSQL (${message}); mend the address in --data`;
  return `PostgreSQL at ${place} cannot be used (${message}${code === '' ? '' : `, ${code}`}); mend the address in --data or the server`;
}

const isEnded = (code: string, message: string): boolean =>
  /^(ECONNRESET|EPIPE|57P01|57P02|08\w{3})$/.test(code) || message.startsWith('Connection terminated');
