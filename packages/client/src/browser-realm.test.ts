// Loads the built client into a realm that has no Node, and works with it there. Started by browser.test.ts with a server's URL; it holds no test itself.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { argv } from 'node:process';
import * as vm from 'node:vm';
import type * as Client from './index.ts';

/** All that a browser and Node both have and the client may use. Whatever is not named here does not exist for it. */
const browserGlobals = {
  AbortController,
  AbortSignal,
  Headers,
  Response,
  TextDecoder,
  TextEncoder,
  URL,
  URLSearchParams,
  WebSocket: globalThis.WebSocket,
  atob,
  btoa,
  clearTimeout,
  crypto,
  fetch,
  performance,
  setTimeout,
};

const dist = { '@waitless/client': '../dist/', '@waitless/protocol': '../../protocol/dist/' };

/** Imports the package as a browser would, with an import map for the two packages. */
async function load(context: vm.Context): Promise<typeof Client> {
  const loaded = new Map<string, vm.SourceTextModule>();
  const moduleAt = (url: URL): vm.SourceTextModule => {
    const known = loaded.get(url.href);
    if (known) return known;
    const module = new vm.SourceTextModule(readFileSync(url, 'utf8'), { context, identifier: url.href });
    loaded.set(url.href, module);
    return module;
  };
  const entry = (name: keyof typeof dist): URL => new URL(`${dist[name]}index.js`, import.meta.url);
  const main = moduleAt(entry('@waitless/client'));
  await main.link((specifier, from) => {
    if (specifier === '@waitless/protocol') return moduleAt(entry(specifier));
    assert.match(specifier, /^\.{1,2}\//, `${from.identifier} imports ${specifier}`);
    return moduleAt(new URL(specifier, from.identifier));
  });
  await main.evaluate();
  return main.namespace as typeof Client;
}

async function tryOut(url: string): Promise<void> {
  const context = vm.createContext({ ...browserGlobals });
  for (const name of ['process', 'Buffer', 'require', 'setImmediate', 'global'])
    assert.equal(vm.runInContext(`typeof ${name}`, context), 'undefined');
  const { createClient, signWebhook, verifyWebhook, WaitlessError } = await load(context);
  const client = createClient({ url });
  const body = vm.runInContext('({ customerId: "42" })', context) as object;
  const answer = await client.request('score', body);
  assert.equal(JSON.stringify(answer.json()), '{"customerId":"42"}');

  const secrets = `whsec_${btoa('k'.repeat(32))}`;
  const received = vm.runInContext('new Uint8Array([0, 255, 10])', context) as Uint8Array;
  const headers = new Headers(await signWebhook({ id: 'msg_1', body: received, secrets }));
  assert.equal((await verifyWebhook({ headers, body: received, secrets })).id, 'msg_1');
  await assert.rejects(verifyWebhook({ headers, body: 'else', secrets }), { code: 'webhook-refused' });

  const { position } = await client.publish('orders', received);
  assert.equal(position, 1);
  for await (const event of client.subscribe('orders', { from: 'start' })) {
    assert.deepEqual([event.topic, ...event.bytes], ['orders', 0, 255, 10]);
    break;
  }

  let worked: () => void;
  const once = new Promise<void>((resolve) => (worked = resolve));
  const worker = client.worker('jobs', (job) => {
    worked();
    return { json: { got: job.text() } };
  });
  await once;
  await worker.stop();
  await assert.rejects(
    client.submit('unknown'),
    (error: unknown) => error instanceof WaitlessError && error.code === 'unknown-service',
  );
}

if (argv[2] !== undefined) await tryOut(argv[2]);
