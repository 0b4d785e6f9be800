// A guest's phone: a small HTTP server that takes calls of the counter, and only those that are signed by it.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';

/**
 * @param {{ verify: (received: { headers: any, body: Buffer }) => Promise<{ id: string }>, signal: AbortSignal }} options `verify` throws for a call that the counter has not made
 * @returns {Promise<{ url: string, calls: AsyncIterable<any>, close: () => void }>}
 */
export async function phone({ verify, signal }) {
  const known = new Set();
  /** @type {any[]} */
  const heard = [];
  let ring = () => {};
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    try {
      const { id } = await verify({ headers: request.headers, body });
      // Nobody can promise that a call comes once: the same one again has the same id.
      if (!known.has(id)) heard.push(JSON.parse(body.toString()));
      known.add(id);
      response.writeHead(204).end();
      ring();
    } catch {
      response.writeHead(401).end();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  signal.addEventListener('abort', () => ring(), { once: true });
  async function* calls() {
    for (;;) {
      signal.throwIfAborted();
      if (heard.length > 0) yield heard.shift();
      else await new Promise((resolve) => (ring = () => resolve(undefined)));
    }
  }
  return {
    url: `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}/`,
    calls: calls(),
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
