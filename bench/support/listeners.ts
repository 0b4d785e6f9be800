// Ends operations around the moment in which it begins to listen for their ends, and tells how long it took until it was told; a process of its own.
//
// Argument: port. A job names the outlet, how many operations are raced at once and for how long.
import { Agent, type IncomingMessage, request } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { WebSocket } from 'ws';
import { replyBody } from './payload.ts';

export const outlets = ['long-poll', 'SSE', 'WebSocket'] as const;
export interface ListenJob {
  outlet: (typeof outlets)[number];
  atOnce: number;
  seconds: number;
}

/** Ends and beginnings are at most so far apart. */
const apartMs = 20;
const port = Number(process.argv[2]);
const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Sent {
  method?: 'GET' | 'POST';
  headers?: Record<string, string>;
  body?: string;
  /** A stream is read to its end on a connection of its own. */
  alone?: boolean;
}

function send(
  path: string,
  { method = 'GET', headers = {}, body, alone = false }: Sent = {},
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request({ port, path, method, headers, agent: alone ? false : agent })
      .on('response', resolve)
      .on('error', reject)
      .end(body);
  });
}

async function ask<T>(path: string, sent: Sent, status: number): Promise<T> {
  const answer = await send(path, sent);
  const text = (await buffer(answer)).toString();
  if (answer.statusCode !== status) throw new Error(`${path} was answered ${answer.statusCode}: ${text.slice(0, 300)}`);
  return JSON.parse(text) as T;
}

interface Work {
  id: string;
  token: string;
}

/** One that is under way: the next in the queue, whoever submitted it. */
async function begun(): Promise<Work> {
  const json = { 'Content-Type': 'application/json' };
  await ask('/v1/call/jobs', { method: 'POST', body: 'x' }, 202);
  const wanted = { method: 'POST', headers: json, body: '{"max":1,"waitSeconds":30}' } as const;
  const { leases } = await ask<{ leases: { token: string; operation: { id: string } }[] }>(
    '/v1/services/jobs/leases',
    wanted,
    200,
  );
  return { id: leases[0]!.operation.id, token: leases[0]!.token };
}

type Listen = (id: string) => Promise<void>;

async function byPolling(id: string): Promise<void> {
  // Begun is version 2.
  const headers = { Prefer: 'wait=30', 'If-None-Match': 'W/"2"' };
  const { done } = await ask<{ done: boolean }>(`/v1/operations/${id}`, { headers }, 200);
  if (!done) throw new Error('a poll was answered before the end');
}

async function byStream(id: string): Promise<void> {
  const answer = await send(`/v1/operations/${id}/events`, { headers: { Accept: 'text/event-stream' }, alone: true });
  let text = '';
  for await (const more of answer.setEncoding('utf8')) {
    text += more as string;
    if (!text.includes('event: succeeded\n')) continue;
    answer.destroy();
    return;
  }
  throw new Error(`a stream ended with ${answer.statusCode} and without the end: ${text.slice(-300)}`);
}

async function bySocket(): Promise<{ listen: Listen; close: () => void }> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/stream`, ['waitless.v1'], { perMessageDeflate: false });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const waiting = new Map<string, () => void>();
  socket.on('message', (data) => {
    for (const frame of [JSON.parse((data as Buffer).toString()) as object].flat() as { event?: { id: string } }[])
      if (frame.event) waiting.get(frame.event.id)?.();
  });
  return {
    close: () => socket.terminate(),
    listen: (id) =>
      new Promise((resolve) => {
        waiting.set(id, () => {
          waiting.delete(id);
          resolve();
        });
        socket.send(JSON.stringify({ type: 'watch', operations: [id], events: 'end' }));
      }),
  };
}

/** Milliseconds from the reply, or the beginning to listen where that is later, to being told. */
async function race(listen: Listen): Promise<number> {
  const { id, token } = await begun();
  const offset = (Math.random() * 2 - 1) * apartMs;
  let repliedAt = 0;
  const replying = pause(Math.max(0, offset)).then(async () => {
    repliedAt = performance.now();
    await ask(`/v1/leases/${token}/reply`, { method: 'POST', body: replyBody }, 200);
  });
  await pause(Math.max(0, -offset));
  const listeningAt = performance.now();
  await listen(id);
  const toldAt = performance.now();
  await replying;
  return toldAt - Math.max(repliedAt, listeningAt);
}

async function run({ outlet, atOnce, seconds }: ListenJob): Promise<number[]> {
  const socket = outlet === 'WebSocket' ? await bySocket() : undefined;
  const listen = socket?.listen ?? (outlet === 'SSE' ? byStream : byPolling);
  const delays: number[] = [];
  const endsAt = performance.now() + seconds * 1000;
  const one = async (): Promise<void> => {
    while (performance.now() < endsAt) delays.push(await race(listen));
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  socket?.close();
  return delays.sort((a, b) => a - b);
}

if (process.send) {
  process.on('message', (job: ListenJob) => {
    run(job).then(
      (delays) => process.send!(delays),
      (error: Error) => {
        process.stderr.write(`the listener had to stop: ${error.message}\n`);
        process.exit(1);
      },
    );
  });
  process.once('disconnect', () => process.exit());
  process.send('ready');
}
