// A request that wants to be a WebSocket: judged like every other one, then handed on with its socket.
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { STATUS_CODES } from 'node:http';
import { streamPath, WaitlessError } from '@waitless/protocol';
import type { Metrics } from '../../lib/metrics.ts';
import type { Auth, Caller } from '../auth.ts';
import type { Upgrade } from '../edge.ts';
import { problemAnswer } from './problems.ts';
import { checkHeaders, checkTarget } from './raw-checks.ts';
import { endSocket } from './raw-refusals.ts';
import type { ReadTokens } from './read-tokens.ts';
import { WrongGuess } from './wrong-guess.ts';

/** All else that asks for another protocol is answered in this one, as HTTP allows. */
export const wantsWebSocket = ({ method, url = '', headers }: IncomingMessage): boolean =>
  method === 'GET' &&
  (url === streamPath || url.startsWith(`${streamPath}?`)) &&
  headers.upgrade?.trim().toLowerCase() === 'websocket';

/** Which requests node hands over with their sockets; the types of node 22 do not know the option yet, which it has since 22.21. */
export const upgradesOnly = (wanted: (request: IncomingMessage) => boolean): object => ({
  shouldUpgradeCallback: wanted,
});

export interface UpgradeParts {
  request: IncomingMessage;
  socket: Socket;
  head: Buffer;
  caller: Caller;
  requestId: string;
  /** Base of the URLs in what is told; asked once the form is judged. */
  base: () => string;
  auth: Auth;
  readTokens: ReadTokens;
  stopping: boolean;
  asGuess: (error: unknown, guess: string) => unknown;
  metrics: Metrics;
}

/** Undefined where it has been refused already. */
export function upgradeOf(parts: UpgradeParts): Upgrade | undefined {
  const { request, socket, head, caller, requestId, auth, readTokens, asGuess, metrics } = parts;
  socket.on('error', () => socket.destroy());
  let base = '';
  const count = (status: number): void => {
    metrics.httpResponses.set(status, (metrics.httpResponses.get(status) ?? 0) + 1);
  };
  const refuse = (thrown: unknown): void => {
    const error = thrown instanceof WrongGuess ? asGuess(thrown, thrown.guess) : thrown;
    const { status, headers, body } = problemAnswer(error, { base, requestId });
    count(status);
    const fields = [...headers, 'Request-Id', requestId, 'Content-Length', String(Buffer.byteLength(body as string))];
    let text = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`;
    for (let i = 0; i < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`;
    if (socket.destroyed) return;
    endSocket(socket, `${text}Connection: close\r\n\r\n${body as string}`);
    // What else comes is not read as anything.
    socket.resume();
  };
  try {
    base = parts.base();
    const { query } = checkTarget('GET', request.url!);
    checkHeaders(request.rawHeaders);
    auth.checkPlace(caller);
    if (parts.stopping)
      throw new WaitlessError('shutting-down', undefined, { retryAfterSeconds: 1, members: { accepted: false } });
    return {
      request,
      socket,
      head,
      caller,
      base,
      requestId,
      tokens: new URLSearchParams(query).getAll('token'),
      visit: (token) => readTokens.visitOf(token),
      refuse,
      taken: () => count(101),
      asGuess,
    };
  } catch (error) {
    refuse(error);
    return undefined;
  }
}
