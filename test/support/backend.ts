// A backend that a test programs: it keeps what it got, byte for byte, and answers what the test says, when the test says.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { cleanUp } from './cleanup.ts';

export interface BackendRequest {
  method: string;
  /** Path and query as they stood in the request line. */
  target: string;
  headers: Readonly<Record<string, string | undefined>>;
  rawHeaders: readonly string[];
  body: Buffer;
  /** Resolves when the caller has closed the connection before it got an answer. */
  abandoned: Promise<void>;
}

export interface BackendAnswer {
  status?: number;
  headers?: Readonly<Record<string, string | readonly string[]>> | readonly string[];
  body?: Uint8Array | string;
  /** Cut the connection instead of answering. */
  reset?: boolean;
}

export type Behaviour = (request: BackendRequest, number: number) => BackendAnswer | Promise<BackendAnswer>;

export interface Backend {
  readonly url: string;
  /** Whole requests so far, in the order in which they were complete. */
  readonly requests: readonly BackendRequest[];
  /** Answers sent so far. */
  readonly answered: number;
  /** Changes what it does from the next request on. */
  behave(behaviour: Behaviour): void;
  /** Resolves with the first requests once there are that many. */
  received(count: number): Promise<readonly BackendRequest[]>;
  close(): Promise<void>;
}

/** A promise with its ends outside. */
export function gate<T = void>(): { readonly opened: Promise<T>; open(value: T): void } {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { opened: promise, open: resolve };
}

/** An answer that never comes. */
export const never = (): Promise<BackendAnswer> => new Promise(() => undefined);

/** Starts a backend that is gone when the test has ended. Requests are numbered from 1. */
export async function backendFor(t: TestContext, behaviour: Behaviour = () => ({ body: 'done' })): Promise<Backend> {
  const requests: BackendRequest[] = [];
  const waiting: { count: number; resolve(requests: readonly BackendRequest[]): void }[] = [];
  let behave = behaviour;
  let answered = 0;

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const abandoned = new Promise<void>((resolve) => {
      response.once('close', () => {
        if (!response.writableFinished) resolve();
      });
    });
    const headers: Record<string, string | undefined> = {};
    for (const [name, values] of Object.entries(incoming.headersDistinct)) headers[name] = values?.join(', ');
    const request: BackendRequest = {
      method: incoming.method!,
      target: incoming.url!,
      headers,
      rawHeaders: incoming.rawHeaders,
      body: await buffer(incoming),
      abandoned,
    };
    const number = requests.push(request);
    for (const waiter of waiting.splice(0)) {
      if (requests.length >= waiter.count) waiter.resolve(requests.slice(0, waiter.count));
      else waiting.push(waiter);
    }
    const answer = await behave(request, number);
    if (answer.reset) return void incoming.socket.resetAndDestroy();
    const { status = 200, headers: fields = {}, body = '' } = answer;
    response.writeHead(status, fields as Record<string, string>);
    response.end(body, () => answered++);
  }

  const server = createServer((incoming, response) => {
    // A caller that cut the connection while its body was on the way is no request.
    serve(incoming, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  cleanUp(t, close);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    get answered() {
      return answered;
    },
    behave: (next) => void (behave = next),
    received(count) {
      if (requests.length >= count) return Promise.resolve(requests.slice(0, count));
      return new Promise((resolve) => waiting.push({ count, resolve }));
    },
    close,
  };
}
