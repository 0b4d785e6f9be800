// Receives callbacks on this machine: checks each as a receiver should, answers it, and hands on what it was.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { verifyWebhook, WebhookRefused } from '@waitless/client';
import { Failure } from './failure.ts';

/** A result of 64 KB in base64 and all around it fit in easily; more is none of ours. */
const mostBytes = 1024 * 1024;

export type Received =
  | {
      verified: true;
      /** The event id: the same whenever the same is sent again. */
      id: string;
      /** Whether it came before. */
      again: boolean;
      sentAt: Date;
      /** As it came. */
      text: string;
    }
  | { verified: false; reason: string };

export interface CallbackReceiver {
  /** What belongs into Callback-Url. */
  url: string;
  close: () => Promise<void>;
}

export interface ReceiverOptions {
  port: number;
  secrets: readonly string[];
  now: () => number;
  /** Called before the answer is sent. */
  onReceived: (received: Received) => void;
}

export async function startCallbackReceiver(options: ReceiverOptions): Promise<CallbackReceiver> {
  const known = new Set<string>();
  const server = createServer((request, response) => {
    answer(request, response, { ...options, known }).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE'
          ? new Failure(`port ${options.port} is taken; give another with --port, or none for a free one.`)
          : error,
      ),
    );
    server.listen(options.port, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        // What is being answered is answered; a connection that is kept for later is not waited for.
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { secrets, now, onReceived, known }: ReceiverOptions & { known: Set<string> },
): Promise<void> {
  const end = (status: number, headers: Record<string, string> = {}): void =>
    void response.writeHead(status, { Connection: 'close', ...headers }).end();
  if (request.method !== 'POST') return end(405, { Allow: 'POST' });
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > mostBytes) {
      onReceived({ verified: false, reason: `larger than ${mostBytes} bytes` });
      return end(413);
    }
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  try {
    const { id, sentAt } = await verifyWebhook({ headers: request.headersDistinct, body, secrets, now: now() });
    onReceived({ verified: true, id, again: known.has(id), sentAt, text: body.toString('utf8') });
    known.add(id);
    end(204);
  } catch (error) {
    if (!(error instanceof WebhookRefused)) throw error;
    onReceived({ verified: false, reason: error.message });
    end(401);
  }
}
