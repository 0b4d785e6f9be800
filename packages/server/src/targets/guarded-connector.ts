// How every connection is made that callers of the API may cause: to vetted addresses alone, and looked at once more before anything is sent.
import type { LookupFunction } from 'node:net';
import type { buildConnector } from 'undici';
import type { AddressGuard } from './address.ts';
import { endingConnector } from './giving-up.ts';

export interface GuardedConnections {
  guard: AddressGuard;
  /** Of making a connection. */
  timeoutMs: number;
}

/** Connections that are kept stay where they were led to; each new one is judged anew. */
export function guardedConnector(
  { buildConnector: build }: typeof import('undici'),
  { guard, timeoutMs }: GuardedConnections,
): buildConnector.connector {
  const connect = endingConnector(
    build({
      timeout: timeoutMs,
      lookup: guard.lookup as LookupFunction,
      allowH2: false,
      // Said aloud, since NODE_TLS_REJECT_UNAUTHORIZED would turn it off for all.
      rejectUnauthorized: true,
    }),
  );
  return (options, done) =>
    connect(options, (...[error, socket]) => {
      const refused = socket && guard.refusalOf(socket);
      if (!socket) return done(error ?? new Error('there is no connection'), null);
      if (!refused) return done(null, socket);
      socket.destroy();
      done(refused, null);
    });
}
