// What the tests of the WebSocket share: a server that speaks frames and holds nothing but what a test gives it. It holds no test itself.
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import {
  type ClientFrame,
  type OperationEvent,
  type ServerFrame,
  streamPath,
  streamProtocol,
} from '@waitless/protocol';
import { type WebSocket, WebSocketServer } from 'ws';
import { json, receipt } from './support.test.ts';

export interface Peer {
  request: IncomingMessage;
  socket: WebSocket;
  /** Every frame but pings. */
  frames: ClientFrame[];
  send(...frames: ServerFrame[]): void;
}

export interface StreamServer {
  readonly url: string;
  /** Connections since the beginning, with those that have ended. */
  readonly peers: Peer[];
  /** HTTP requests, as `METHOD path`. */
  readonly seen: string[];
  /** Resolves when `fact` holds, looked at after everything that comes. */
  until(fact: () => boolean): Promise<void>;
  /** Ends it with all of its connections, as a kill does. */
  kill(): Promise<void>;
  /** On the same port. */
  start(): Promise<void>;
}

export interface Script {
  /** Answers HTTP; without it every operation has the result `done ID`. */
  http?: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Answers a frame. Pings are answered already. */
  frame?: (frame: ClientFrame, peer: Peer) => void;
}

export const eventOf = (id: string, version: number, status: OperationEvent['status'] = 'running'): ServerFrame => {
  const eventId = `${id}_${version}`;
  const { service, correlationId } = receipt;
  const [done, updatedAt] = [status !== 'running' && status !== 'queued', '2026-01-01T00:00:00Z'];
  const type = `waitless.operation.${status}` as const;
  const event = { eventId, type, id, service, correlationId, status, done, version, updatedAt, attempt: 1 };
  return { type: 'event', id: eventId, event };
};

/** A server that ends with the test. Submits are accepted as op1, op2 ... */
export async function streamServer(t: TestContext, script: Script = {}): Promise<StreamServer> {
  const [peers, seen, looks]: [Peer[], string[], (() => void)[]] = [[], [], []];
  const look = (): void => looks.forEach((one) => one());
  let submitted = 0;
  let port = 0;
  let stop = async (): Promise<void> => {};

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url!;
    seen.push(`${request.method} ${path}`);
    look();
    if (script.http?.(request, response)) return;
    const id = /^\/v1\/operations\/(\w+)\/result(?:\?.*)?$/.exec(path)?.[1];
    if (path.startsWith('/v1/call/')) {
      const accepted = `op${++submitted}`;
      json(response, 202, { ...receipt, id: accepted }, { 'Operation-Id': accepted });
    } else if (id !== undefined)
      response.writeHead(200, { 'Operation-Id': id, 'Operation-Status': 'succeeded' }).end(`done ${id}`);
    else response.writeHead(404).end();
  }

  async function start(): Promise<void> {
    const server = createServer(answer);
    const sockets = new WebSocketServer({ server, path: streamPath, handleProtocols: () => streamProtocol });
    sockets.on('connection', (socket, request) => {
      const send = (...frames: ServerFrame[]): void =>
        socket.send(JSON.stringify(frames.length === 1 ? frames[0] : frames));
      const peer: Peer = { request, socket, frames: [], send };
      peers.push(peer);
      socket.on('close', look);
      socket.on('message', (data) => {
        const message = JSON.parse((data as Buffer).toString()) as ClientFrame | ClientFrame[];
        for (const frame of Array.isArray(message) ? message : [message]) {
          if (frame.type === 'ping') {
            send({ type: 'pong' });
            continue;
          }
          peer.frames.push(frame);
          script.frame?.(frame, peer);
        }
        look();
      });
      look();
    });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
    stop = async () => {
      stop = async () => {};
      for (const socket of sockets.clients) socket.terminate();
      sockets.close();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    };
  }

  await start();
  t.after(() => stop());
  assert.ok(port > 0);
  return {
    url: `http://127.0.0.1:${port}`,
    peers,
    seen,
    async until(fact) {
      while (!fact()) await new Promise<void>((resolve) => void looks.push(resolve));
    },
    kill: () => stop(),
    start,
  };
}

/** The `watch` frames of a connection. */
export const watches = (peer: Peer | undefined) => (peer?.frames ?? []).filter((frame) => frame.type === 'watch');
