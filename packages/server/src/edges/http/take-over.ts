// Takes a connection out of node:http's hands once the head of its last answer is written: what only waits needs neither parser nor request nor response.
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Everything that node:http listens to on a connection, but for its end. */
const heard = ['data', 'end', 'drain', 'error', 'timeout', 'pause', 'resume'] as const;

/**
 * The socket of an answer whose head is out, with nobody listening to it; the answer is never to be ended. Undefined where node:http has to go on
 * with it: an earlier request of the connection is not answered yet, or its client does not know chunks.
 */
export function takeOver(response: ServerResponse): Socket | undefined {
  const { req: request, socket } = response;
  if (!socket || socket.destroyed || !request.complete || request.httpVersion !== '1.1') return undefined;
  response.detachSocket(socket);
  // A request that is let go before its answer has ended would end its socket.
  (request as { socket: Socket | null }).socket = null;
  for (const event of heard) socket.removeAllListeners(event);
  // What node:http does when a connection closes is what is wanted here: the parser is given back, the request is let go.
  const closing = socket.listeners('close');
  socket.removeAllListeners('close');
  for (const over of closing) over.call(socket);
  socket.setTimeout(0);
  // Whatever else the client sends is read, so that its end is seen, and thrown away.
  socket.resume();
  return socket;
}
