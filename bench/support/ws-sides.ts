// Both sides of work over WebSocket, each a process with one connection: a client that keeps so many submits under way, a worker that answers.
//
// Arguments: side, port, service. The client is told how many and for how long; the worker holds as many leases as a connection may.
import { replyBody, requestBody } from './payload.ts';
import { percentile } from './statistics.ts';
import { WsConnection } from './ws-connection.ts';

export interface SidesJob {
  inFlight: number;
  seconds: number;
}

export interface SidesResult {
  operations: number;
  perSecond: number;
  p50: number;
  p99: number;
}

const [side, portText, service] = process.argv.slice(2) as ['client' | 'worker', string, string];
const port = Number(portText);
/** Characters of a message; the server takes no more than 262,144 bytes. */
const mostCharacters = 200_000;
const drainMs = 30_000;

function stop(error: Error): void {
  process.stderr.write(`the ${side} had to stop: ${error.message}\n`);
  process.exit(1);
}

/** Frames as messages that are as large as they may be. */
function sendAll(connection: WsConnection, frames: readonly string[]): void {
  let message = '';
  for (const frame of frames) {
    if (message.length + frame.length > mostCharacters) {
      connection.send(`[${message}]`);
      message = '';
    }
    message += message === '' ? frame : `,${frame}`;
  }
  if (message !== '') connection.send(`[${message}]`);
}

async function work(): Promise<void> {
  const mark = '"token":"';
  const reply = `","headers":{"Content-Type":"application/json"},"body":${replyBody}}`;
  const connection = await WsConnection.open({
    port,
    onBroken: stop,
    onMessage(text) {
      if (text.includes('"type":"error"')) return stop(new Error(text.slice(0, 300)));
      const frames: string[] = [];
      for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at)) {
        const end = text.indexOf('"', (at += mark.length));
        frames.push(`{"type":"reply","token":"${text.slice(at, end)}${reply}`);
      }
      sendAll(connection, frames);
    },
  });
  connection.send(`{"type":"work","service":"${service}","credits":1000,"worker":"bench"}`);
  process.send!('ready');
}

async function submit(): Promise<void> {
  const mark = '"type":"event","ref":"';
  const result = `"result":{"status":200,"headers":[["Content-Type","application/json"]],"body":${replyBody}}`;
  const rest = `","service":"${service}","path":"/score","headers":{"Content-Type":"application/json"},"body":${requestBody},"watch":"end","include":"result"}`;
  const sentAt = new Map<string, number>();
  let refs = 0;
  let endsAt = 0;
  let latencies: number[] = [];
  let inTime = 0;
  let idle = (): void => {};
  const send = (count: number): void => {
    const now = performance.now();
    const frames: string[] = [];
    for (let i = 0; i < count; i++) {
      const ref = (refs++).toString(36);
      sentAt.set(ref, now);
      frames.push(`{"type":"submit","ref":"${ref}${rest}`);
    }
    sendAll(connection, frames);
  };
  const connection = await WsConnection.open({
    port,
    onBroken: stop,
    onMessage(text) {
      if (text.includes('"type":"error"')) return stop(new Error(text.slice(0, 300)));
      const now = performance.now();
      let events = 0;
      for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at)) {
        const end = text.indexOf('"', (at += mark.length));
        const ref = text.slice(at, end);
        const next = text.indexOf(mark, end);
        const found = text.indexOf(result, end);
        if (found < 0 || (next >= 0 && found > next))
          return stop(new Error(`not the reply: ${text.slice(at, at + 900)}`));
        latencies.push(now - sentAt.get(ref)!);
        sentAt.delete(ref);
        events++;
      }
      if (now < endsAt) {
        inTime += events;
        send(events);
      } else if (sentAt.size === 0) idle();
    },
  });
  process.on('message', ({ inFlight, seconds }: SidesJob) => {
    latencies = [];
    inTime = 0;
    const timer = setTimeout(() => stop(new Error(`${sentAt.size} submits never ended`)), seconds * 1000 + drainMs);
    idle = () => {
      clearTimeout(timer);
      latencies.sort((a, b) => a - b);
      const [p50, p99] = [percentile(latencies, 0.5), percentile(latencies, 0.99)];
      process.send!({ operations: latencies.length, perSecond: inTime / seconds, p50, p99 } satisfies SidesResult);
    };
    endsAt = performance.now() + seconds * 1000;
    send(inFlight);
  });
  process.send!('ready');
}

process.on('disconnect', () => process.exit(0));
(side === 'worker' ? work() : submit()).catch(stop);
