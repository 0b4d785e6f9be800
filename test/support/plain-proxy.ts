// A reverse proxy of the old kind: it passes requests on as they are, and knows nothing of upgrades, so that no WebSocket comes through it.
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { cleanUp } from './cleanup.ts';

const hopByHop = new Set(['connection', 'upgrade', 'keep-alive', 'transfer-encoding', 'host']);

export interface PlainProxy {
  readonly url: string;
  /** Requests so far, as `METHOD path`. */
  readonly seen: readonly string[];
}

/** A proxy before one server that is gone when the test has ended. */
export async function plainProxy(t: TestContext, target: string): Promise<PlainProxy> {
  const seen: string[] = [];
  const server = createServer((incoming, answer) => {
    seen.push(`${incoming.method} ${incoming.url}`);
    const headers = Object.entries(incoming.headers).filter(([name]) => !hopByHop.has(name));
    // The Host that the server knows.
    const passed = request(target + incoming.url, { method: incoming.method, headers: Object.fromEntries(headers) });
    passed.on('response', (response) => {
      answer.writeHead(response.statusCode!, response.headers);
      response.pipe(answer);
    });
    passed.on('error', () => answer.destroy());
    answer.on('close', () => passed.destroy());
    incoming.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUp(t, () => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}
