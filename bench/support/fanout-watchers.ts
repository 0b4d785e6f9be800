// Those who are told, in a process of their own: raw sockets that count marks, as cheap as Node allows, since they share two cores with the server.
//
// Arguments: kind of the outlet, port, path, how many, how many more that never read and come back when they are cut off, and what to send once open. Says "ready" once every
// one has been answered, and then every few milliseconds the marks counted so far.
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import type { Outlet } from './fanout.ts';
import { maskedText } from './ws-connection.ts';

const [kind, portText, path, countText, stalledText, say] = process.argv.slice(2) as [
  Outlet,
  string,
  string,
  string,
  string,
  string,
];
const port = Number(portText);
/** Connecting so many at a time neither overflows a backlog nor takes minutes. */
const atOnce = 100;
const reportMs = 2;
const mark = 96;

const hello: Record<Outlet, () => string> = {
  sse: () => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: text/event-stream\r\n\r\n`,
  ws: () =>
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
    `Sec-WebSocket-Protocol: waitless.v1\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
};

function stop(error: Error): void {
  process.stderr.write(`the watchers had to stop: ${error.message}\n`);
  process.exit(1);
}

let marks = 0;
/** Read into again and again by all of them. */
const shared = Buffer.allocUnsafe(262_144);

function watch(): Promise<void> {
  return new Promise((resolve, reject) => {
    let answered = false;
    const socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: shared,
        callback: (length) => {
          if (!answered) {
            answered = true;
            const line = shared.toString('latin1', 0, 12);
            if (!/^HTTP\/1\.1 (200|101)/.test(line)) reject(new Error(`a watcher was answered ${line}`));
            if (say !== '') socket.write(maskedText(say));
            resolve();
          }
          const bytes = shared.subarray(0, length);
          for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1)) marks++;
          return true;
        },
      },
    });
    socket.once('connect', () => socket.write(hello[kind]()));
    socket.once('error', reject);
    socket.once('close', () => stop(new Error('a watcher was cut off')));
  });
}

function stall(): void {
  const socket: Socket = connect({ port, host: '127.0.0.1' });
  socket.once('connect', () => socket.write(hello[kind]()));
  socket.once('error', () => {});
  // Nobody listens for data, so nothing is read; that it was cut off is seen when it reads again.
  const look = setInterval(() => socket.resume().pause(), 1000);
  socket.once('close', () => {
    clearInterval(look);
    stall();
  });
}

async function start(): Promise<void> {
  const count = Number(countText);
  for (let at = 0; at < count; at += atOnce)
    await Promise.all(Array.from({ length: Math.min(atOnce, count - at) }, watch));
  for (let i = 0; i < Number(stalledText); i++) stall();
  process.send!('ready');
  let reported = -1;
  setInterval(() => {
    if (marks !== reported) process.send!((reported = marks));
  }, reportMs);
}

process.on('disconnect', () => process.exit(0));
start().catch(stop);
