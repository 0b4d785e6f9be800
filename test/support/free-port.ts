// Ports that stay free while nothing listens on them: for a server that is stopped and started again under the same address.
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below those that systems hand out by themselves (Linux from 32768, others from 49152). One of theirs could be given to somebody else while our
 * server is down; and a client that keeps trying it could get it as its own port and be connected to itself.
 */
const range = { from: 16384, to: 32768 };

/** A loopback port that nobody listens on now and that nobody gets by chance. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(range.from, range.to);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
  throw new Error(`no free port between ${range.from} and ${range.to}`);
}
