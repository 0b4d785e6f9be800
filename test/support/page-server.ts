// Pages of somebody else's site for browser tests: an origin of its own that serves a page and the client as it is built.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cleanUp } from './cleanup.ts';

const packages = fileURLToPath(new URL('../../packages/', import.meta.url));

/** A page whose modules can import the client by its name, as one that was bundled or has an import map does. */
const pageOf = (script: string): string => `<!doctype html>
<meta charset="utf-8">
<title>A page</title>
<script type="importmap">
  {"imports": {"@waitless/client": "/client/index.js", "@waitless/protocol": "/protocol/index.js"}}
</script>
<script type="module">
${script}
</script>
`;

/** The origin of a site whose only page runs `script`; it ends with the test. */
export async function siteFor(t: TestContext, script = ''): Promise<string> {
  const server = createServer((request, response) => {
    const [, folder, name] = /^\/(client|protocol)\/((?:[a-z-]+\/)?[a-z-]+\.js)$/.exec(request.url!) ?? [];
    if (folder !== undefined) {
      response.writeHead(200, { 'Content-Type': 'text/javascript; charset=utf-8' });
      return void response.end(readFileSync(`${packages}${folder}/dist/${name}`));
    }
    response.writeHead(request.url === '/' ? 200 : 404, { 'Content-Type': 'text/html; charset=utf-8' });
    response.end(pageOf(request.url === '/' ? script : ''));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUp(t, () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
