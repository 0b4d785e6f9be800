// What the tests of the commands share: a terminal without a process and a server without Waitless. It holds no test itself.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable, Writable } from 'node:stream';
import type { TestContext } from 'node:test';
import type { Operation } from '@waitless/client';
import { main } from './main.ts';
import type { OutputStream, Terminal } from './terminal.ts';

export interface Run {
  code: number;
  stdout: string;
  stdoutBytes: Buffer;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  stdin?: string | Buffer;
  /** 2026-01-01, a minute past midnight, unless given. */
  now?: () => number;
  cwd?: string;
  /** Whether stdout and stderr are terminals. */
  tty?: boolean;
  /** Called with a function that sends a signal, once the command listens for one. */
  onListening?: (send: (signal: NodeJS.Signals) => void) => void;
  /** Called with each piece of stdout. */
  onStdout?: (text: string) => void;
  /** Called with each piece of stderr. */
  onStderr?: (text: string) => void;
}

function collector(tty: boolean, onText?: (text: string) => void): OutputStream & { bytes: () => Buffer } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _, done) {
      chunks.push(chunk);
      onText?.(chunk.toString());
      done();
    },
  });
  return Object.assign(stream, { isTTY: tty, columns: 200, bytes: () => Buffer.concat(chunks) });
}

/** Runs the command in this process. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Run> {
  const stdout = collector(options.tty ?? false, options.onStdout);
  const stderr = collector(options.tty ?? false, options.onStderr);
  const terminal: Terminal = {
    stdin: Readable.from(options.stdin === undefined ? [] : [Buffer.from(options.stdin)]),
    stdout,
    stderr,
    env: options.env ?? {},
    cwd: options.cwd ?? process.cwd(),
    now: options.now ?? (() => Date.parse('2026-01-01T00:01:00Z')),
    onSignal(_, listener) {
      options.onListening?.(listener);
      return () => undefined;
    },
    exit: (code) => {
      throw new Error(`exit ${code}`);
    },
  };
  const code = await main(argv, terminal);
  return { code, stdout: stdout.bytes().toString(), stdoutBytes: stdout.bytes(), stderr: stderr.bytes().toString() };
}

export interface Seen {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: Buffer;
}

export interface FakeServer {
  url: string;
  seen: Seen[];
  /** Environment that leads a command here. */
  env: Record<string, string>;
}

/** A server that answers by `answer`, and has no streams but, where it says so, of events; it ends with the test. */
export async function fakeServer(
  t: TestContext,
  answer: (seen: Seen, response: ServerResponse) => void,
  { streams = false }: { streams?: boolean } = {},
): Promise<FakeServer> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const url = new URL(request.url!, 'http://x');
      const one = {
        method: request.method!,
        path: url.pathname,
        query: url.searchParams,
        headers: request.headers,
        body: Buffer.concat(chunks),
      };
      if (one.path === '/v1/stream' || (!streams && /^\/v1\/operations\/\w+\/events$/.test(one.path)))
        return sendProblem(response, 501, 'not-implemented', 'there are no streams here');
      seen.push(one);
      answer(one, response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, seen, env: { WAITLESS_URL: url } };
}

export const sendJson = (
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void => {
  response.writeHead(status, {
    'Content-Type': status >= 400 ? 'application/problem+json' : 'application/json',
    ...headers,
  });
  response.end(JSON.stringify(body));
};

export const sendProblem = (response: ServerResponse, status: number, code: string, detail: string): void =>
  sendJson(response, status, { type: `x/${code}`, title: code, status, code, detail });

export function operation(change: Partial<Operation> = {}): Operation {
  return {
    id: 'op1',
    service: 'score',
    correlationId: 'op1',
    key: null,
    labels: {},
    createdAt: '2026-01-01T00:00:00.000Z',
    resourceLocation: 'http://x/v1/operations/op1/result',
    links: { self: 'x', result: 'x', timeline: 'x', deliveries: 'x' },
    status: 'running',
    done: false,
    version: 1,
    eventId: 'op1_1',
    startedAt: null,
    updatedAt: '2026-01-01T00:00:01.000Z',
    finishedAt: null,
    attempt: 1,
    maxAttempts: 5,
    runAt: null,
    deadline: null,
    progress: null,
    queuePosition: null,
    estimatedCompletionAt: null,
    expiresAt: null,
    error: null,
    ...change,
  };
}

export const ended = (status: 'succeeded' | 'failed' | 'cancelled', change: Partial<Operation> = {}): Operation =>
  operation({ status, done: true, version: 9, finishedAt: '2026-01-01T00:00:03.000Z', ...change });
