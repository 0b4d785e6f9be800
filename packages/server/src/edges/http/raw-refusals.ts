// Refusals written to the bare socket: of what the parser cannot read, and of methods that have no answer of their own. Each is the end of its connection.
import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { type ErrorCode, errorTable } from '@waitless/protocol';

/** Time for a refused client to read why and to close: at once would reset the connection under unread bytes, much later keeps its place for it. */
const lingerMs = 2000;

/** What the parser calls its refusals; all else is 400. */
const parserRefusals: Readonly<Record<string, { status: number; code: ErrorCode }>> = {
  HPE_HEADER_OVERFLOW: { status: 431, code: 'too-many-headers' },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: { status: 413, code: 'payload-too-large' },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, code: 'request-timeout' },
};

/** What the parser refused before there was a request; the connection is closed in every case. */
export function refuseUnread(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET') return void socket.destroy();
  // Bytes after a refusal are refused with it.
  if (!socket.writable) return;
  // Whole requests before the broken one are answered first: a refusal in front of their answers would be taken for one of them.
  // Node keeps the response whose turn it is in this property and has no public name for it.
  const current = (socket as { _httpMessage?: ServerResponse | null })._httpMessage;
  if (current?.req.complete) {
    socket.pause();
    current.once('close', () => refuseUnread(error, socket));
  } else if (current?.headersSent) endSocket(socket);
  else refuseRaw(socket, parserRefusals[error.code ?? ''] ?? { status: 400, code: 'bad-request' });
}

/** A problem written without a request, as the last bytes of a connection. */
export function refuseRaw(
  socket: Socket,
  { status, code, more = '' }: { status: number; code: ErrorCode; more?: string },
): void {
  const { title } = errorTable[code];
  const body = JSON.stringify({ type: `/problems/${code}`, title, status, code });
  endSocket(
    socket,
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${more}Connection: close\r\n\r\n${body}`,
  );
}

/** Sends what is still to be sent; a client that does not close its side then is cut off. */
export function endSocket(socket: Socket, lastBytes = ''): void {
  socket.end(lastBytes);
  const cut = setTimeout(() => socket.destroy(), lingerMs);
  socket.once('close', () => clearTimeout(cut)).on('error', () => socket.destroy());
}
