// A way to the server that sees what workers ask, so that a test can wait for what a worker has done and not for a time.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { cleanUp } from '../support/cleanup.ts';
import { type Received, send } from '../support/http.ts';

export interface Seen {
  path: string;
  body: string;
  /** Status of the answer; undefined while there is none. */
  status: number | undefined;
}

export interface Watched {
  readonly url: string;
  readonly seen: readonly Seen[];
}

/** Passes requests on. Where the server does not answer, the connection is cut, as it would be without this in between. */
export async function watched(t: TestContext, target: string): Promise<Watched> {
  const seen: Seen[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const body = await buffer(request);
    const entry: Seen = { path: request.url!, body: body.toString(), status: undefined };
    seen.push(entry);
    const received = await passOn(request, `${target}${request.url}`, body, gone.signal);
    entry.status = received.status;
    response.writeHead(received.status, { 'Content-Type': received.headers['content-type'] ?? 'text/plain' });
    response.end(received.body);
  };
  const server = createServer((request, response) => {
    answer(request, response).catch(() => request.socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(t, async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

function passOn(request: IncomingMessage, url: string, body: Buffer, signal: AbortSignal): Promise<Received> {
  const passed = ['authorization', 'content-type', 'result-status'] as const;
  const headers = Object.fromEntries(
    passed.flatMap((name) => (request.headers[name] === undefined ? [] : [[name, String(request.headers[name])]])),
  );
  return send(url, { method: request.method!, headers, body, signal });
}
