// The example services of `waitless dev`: a slow backend of our own, so that there is something to call in the first minute.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';

export interface DevBackend {
  /** Base URL; the services are the paths below it. */
  url: string;
  stop: () => Promise<void>;
}

export interface DevBackendOptions {
  /** How long a score takes. Default 3 s: long enough to be annoying when one has to wait. */
  scoreMs?: number;
  /** How long each of the pizza's stages takes. Default 1.5 s. */
  stageMs?: number;
  /** Told when a later answer could not be delivered. */
  onError?: (error: Error) => void;
}

/** What the backend offers, by path. */
export const devServices = ['score', 'echo', 'pizza-oven'] as const;

const stages = ['kneading the dough', 'spreading the sauce', 'baking', 'slicing'] as const;

interface Kitchen {
  scoreMs: number;
  stageMs: number;
  onError: (error: Error) => void;
  /** Aborts when the backend stops. */
  closing: AbortSignal;
}

type Handler = (request: IncomingMessage, response: ServerResponse, kitchen: Kitchen) => Promise<void>;

/** Starts the backend on a free port of the loopback address. */
export async function startDevBackend(options: DevBackendOptions = {}): Promise<DevBackend> {
  const closing = new AbortController();
  const kitchen: Kitchen = {
    scoreMs: options.scoreMs ?? 3_000,
    stageMs: options.stageMs ?? 1_500,
    onError: options.onError ?? (() => undefined),
    closing: closing.signal,
  };
  const server = createServer((request, response) => {
    const [, name = ''] = new URL(request.url ?? '/', 'http://backend').pathname.split('/');
    const handler = Object.hasOwn(handlers, name) ? handlers[name as (typeof devServices)[number]] : nothingHere;
    handler(request, response, kitchen).catch((error: Error) => {
      if (closing.signal.aborted || request.destroyed) return;
      kitchen.onError(error);
      if (!response.headersSent) json(response, 500, { error: error.message });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      closing.abort();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A credit score: slow, and the same for the same customer. A caller who hangs up ends the work. */
const score: Handler = async (request, response, kitchen) => {
  const body = (await buffer(request)).toString();
  let customerId: unknown;
  try {
    customerId = (JSON.parse(body) as { customerId?: unknown } | null)?.customerId;
  } catch {
    return json(response, 400, { error: 'The body is not JSON; send {"customerId":"42"}.' });
  }
  if (typeof customerId !== 'string' && typeof customerId !== 'number')
    return json(response, 422, { error: 'There is no customerId; send {"customerId":"42"}.' });
  const hungUp = new AbortController();
  response.once('close', () => hungUp.abort());
  await pause(kitchen.scoreMs, undefined, { signal: AbortSignal.any([hungUp.signal, kitchen.closing]) }).catch(
    () => undefined,
  );
  if (hungUp.signal.aborted || kitchen.closing.aborted) return;
  const digest = createHash('sha256').update(String(customerId)).digest();
  const points = 300 + (digest.readUInt32BE() % 551);
  json(response, 200, { customerId, score: points, rating: points >= 700 ? 'good' : points >= 550 ? 'fair' : 'poor' });
};

/** Gives the body back as it came; without one it tells what arrived. */
const echo: Handler = async (request, response) => {
  const body = await buffer(request);
  if (body.length === 0)
    return json(response, 200, { method: request.method, url: request.url, headers: request.headers });
  response.writeHead(200, { 'Content-Type': request.headers['content-type'] ?? 'application/octet-stream' });
  response.end(body);
};

/** Answers 202 at once and the result later, to the URL that came with the request; progress on the way. */
const pizzaOven: Handler = async (request, response, kitchen) => {
  const order = (await buffer(request)).toString();
  const replyUrl = request.headers['operation-reply-url'];
  const progressUrl = request.headers['operation-progress-url'];
  if (typeof replyUrl !== 'string' || typeof progressUrl !== 'string')
    return json(response, 400, {
      error: 'This oven answers later and needs the headers Operation-Reply-Url and Operation-Progress-Url.',
    });
  response.writeHead(202).end();
  for (const [index, stage] of stages.entries()) {
    const percent = Math.round((100 * index) / stages.length);
    // 409: cancelled, or another attempt has taken over; nobody waits for this pizza any more.
    if (!(await post(progressUrl, { stage, percent }, kitchen.closing)).ok) return;
    await pause(kitchen.stageMs, undefined, { signal: kitchen.closing });
  }
  const reply = await post(replyUrl, { pizza: 'ready', order, slices: 8 }, kitchen.closing);
  if (!reply.ok && reply.status !== 409) throw new Error(`the oven's answer was refused with ${reply.status}`);
};

const nothingHere: Handler = async (request, response) => {
  request.resume();
  json(response, 404, { error: `There is no ${request.url}; there are ${devServices.join(', ')}.` });
};

const handlers: Readonly<Record<(typeof devServices)[number], Handler>> = { score, echo, 'pizza-oven': pizzaOven };

async function post(url: string, body: object, signal: AbortSignal): Promise<Response> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: `${JSON.stringify(body)}\n`,
    signal,
  });
  await response.arrayBuffer();
  return response;
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}
