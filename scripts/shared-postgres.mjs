// The one PostgreSQL server of a test run: started when the first test file asks for it, ended with the run. Test files find it by an
// address that only they know, see `sharedCluster` in test/support/postgres.ts.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { root } from './ready.mjs';

/**
 * @param {string} node path of the Node to run it with
 * @returns {Promise<{ env: Record<string, string>, end(): Promise<void> }>} what test files need in their environment
 */
export async function sharedPostgres(node) {
  /** @type {import('node:child_process').ChildProcessByStdio<import('node:stream').Writable, import('node:stream').Readable, null> | undefined} */
  let keeper;
  /** @type {Promise<{ url?: string, error?: string }> | undefined} */
  let answer;

  async function start() {
    // Not of the terminal's group: Ctrl-C ends the run, and the end of the run ends the keeper.
    keeper = spawn(node, [join(root, 'test/support/postgres-keeper.ts')], {
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    // It could not be started: its output ends then.
    keeper.on('error', () => {});
    for await (const line of createInterface({ input: keeper.stdout })) return JSON.parse(line);
    return { error: 'the process that holds PostgreSQL for the tests ended without a word' };
  }

  const path = `/${randomBytes(16).toString('hex')}`;
  const server = createServer((request, response) => {
    response.setHeader('Connection', 'close');
    if (request.url !== path) response.writeHead(404).end();
    else void (answer ??= start()).then(({ url, error }) => response.writeHead(url ? 200 : 503).end(url ?? error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());

  return {
    env: { WAITLESS_TEST_POSTGRES: `http://127.0.0.1:${port}${path}` },
    async end() {
      server.close();
      server.closeAllConnections();
      if (!keeper?.pid || keeper.exitCode !== null || keeper.signalCode !== null) return;
      keeper.stdin.end();
      await once(keeper, 'exit');
    },
  };
}
