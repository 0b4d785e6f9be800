// The pizzeria's own web server: serves the page, passes orders on, and gives the page read-only tokens, so that it watches without an API key.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';

const json = { 'Content-Type': 'application/json' };
const files = Object.fromEntries(
  [
    ['/', 'index.html', 'text/html; charset=utf-8'],
    ['/page.js', 'page.js', 'text/javascript; charset=utf-8'],
    ['/page.css', 'page.css', 'text/css; charset=utf-8'],
  ].map(([path, name, type]) => [path, { type, bytes: readFileSync(new URL(`page/${name}`, import.meta.url)) }]),
);

/** A guest's order: 202 at once, and the order's number. @param {string} waitless @param {{ guest: string, pizza: string }} order */
export async function order(waitless, { guest, pizza }) {
  const body = JSON.stringify({ guest, pizza });
  const receipt = await fetch(`${waitless}/v1/call/orders`, { method: 'POST', headers: json, body });
  if (receipt.status !== 202) throw new Error(`the order was answered with ${receipt.status}: ${await receipt.text()}`);
  return { status: receipt.status, order: (await receipt.json()).id };
}

/** A URL for an EventSource, good for a quarter of an hour and for nothing else. @param {string} waitless @param {string} path @param {object} names */
async function readable(waitless, path, names) {
  const made = await fetch(`${waitless}/v1/tokens`, { method: 'POST', headers: json, body: JSON.stringify(names) });
  if (!made.ok) throw new Error(await made.text());
  const { token } = await made.json();
  return `${waitless}${path}${path.includes('?') ? '&' : '?'}token=${token}`;
}

/** The operation that the event of an order has started; it is found by the order's number. @param {string} waitless @param {string} number */
async function operationOf(waitless, number) {
  const query = new URLSearchParams({ service: 'kitchen', correlationId: number });
  for (let tries = 0; tries < 100; tries++) {
    const found = await fetch(`${waitless}/v1/operations?${query}`);
    if (!found.ok) throw new Error(await found.text());
    const [operation] = (await found.json()).items;
    if (operation !== undefined) return operation.id;
    await pause(50);
  }
  throw new Error('the kitchen has not heard of this order yet');
}

/** Where to watch orders being made. @param {string} waitless @param {readonly string[]} numbers */
export async function watching(waitless, numbers) {
  const operations = await Promise.all(numbers.map((number) => operationOf(waitless, number)));
  return readable(waitless, `/v1/stream?operations=${operations.join()}`, { operations });
}

/** Starts the site on a free port. It has to be told where Waitless is before it can do more than show its page. */
export async function openSite() {
  let waitless = '';
  const routes = {
    'POST /orders': async (/** @type {import('node:http').IncomingMessage} */ request) =>
      order(waitless, JSON.parse(await text(request))),
    'GET /watch': async (/** @type {unknown} */ _, /** @type {URLSearchParams} */ query) => ({
      url: await watching(waitless, (query.get('orders') ?? '').split(',')),
    }),
    'GET /facts': async () => ({
      url: await readable(waitless, '/v1/stream?topics=pizza.*&from=start', { topics: ['pizza.*'] }),
    }),
  };
  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://site');
    response.setHeader('X-Content-Type-Options', 'nosniff');
    response.setHeader('Cache-Control', 'no-store');
    const file = request.method === 'GET' ? files[pathname] : undefined;
    if (file !== undefined) {
      response.setHeader(
        'Content-Security-Policy',
        `default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ${waitless}; form-action 'none'; frame-ancestors 'none'; base-uri 'none'`,
      );
      return response.writeHead(200, { 'Content-Type': file.type }).end(file.bytes);
    }
    const route = routes[`${request.method} ${pathname}`];
    // JSON alone: no form of another site can order.
    const isWanted = request.method === 'GET' || request.headers['content-type'] === 'application/json';
    if (route === undefined || !isWanted)
      return response.writeHead(404, json).end('{"error":"There is no such page."}');
    try {
      const said = await route(request, searchParams);
      response.writeHead(200, json).end(JSON.stringify(said));
    } catch (error) {
      response.writeHead(502, json).end(JSON.stringify({ error: error.message }));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`,
    /** @param {string} url */
    serve: (url) => void (waitless = url),
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
