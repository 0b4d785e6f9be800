// Which header fields an operator may name in a service, and which are Waitless's own business.
import { headerTable, hopByHopHeaders } from '@waitless/protocol';

/** Set by Waitless on every attempt; an operator's value beside it would say something else about the same thing. */
export const ownHeaders: ReadonlySet<string> = new Set([
  ...headerTable.filter(({ direction }) => direction === 'backend').map(({ name }) => name.toLowerCase()),
  'operation-id',
  'correlation-id',
  'idempotency-key',
  'traceparent',
  'tracestate',
]);

/** They frame the message of one connection; undici refuses or computes them. */
export const framingHeaders: ReadonlySet<string> = new Set([...hopByHopHeaders, 'content-length', 'expect']);

/** They carry credentials. A business key is shown in status documents and found in lists. */
export const secretHeaders: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'x-api-key',
  'api-key',
  'x-auth-token',
]);

export const isHeaderName = (name: string): boolean => /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/.test(name);
