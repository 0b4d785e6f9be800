// A receiver of webhooks in a process of its own, as cheap as Node allows, since it shares the machine with the server: answers 204 and counts.
//
// Says its port once it listens, and then every few milliseconds, while something comes, how many requests it has answered so far.
import { type AddressInfo, createServer, type Socket } from 'node:net';

const answer = Buffer.from('HTTP/1.1 204 No Content\r\n\r\n');
const headEnd = Buffer.from('\r\n\r\n');
const reportMs = 5;

let answered = 0;
let told = 0;

function stop(error: Error): void {
  process.stderr.write(`the receiver had to stop: ${error.message}\n`);
  process.exit(1);
}

/** Length of the first request in these bytes; undefined: it is not all there. */
function requestLength(bytes: Buffer): number | undefined {
  const end = bytes.indexOf(headEnd);
  if (end < 0) return undefined;
  const head = bytes.toString('latin1', 0, end);
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (length === undefined || !/^webhook-signature: *v1,/im.test(head)) stop(new Error(`no signed webhook: ${head}`));
  const whole = end + headEnd.length + Number(length);
  return bytes.length < whole ? undefined : whole;
}

function receive(socket: Socket): void {
  let held: Buffer = Buffer.alloc(0);
  socket.setNoDelay(true);
  // The server ends connections that idle, and all of them at its own end.
  socket.on('error', () => {});
  socket.on('data', (fresh: Buffer) => {
    held = held.length === 0 ? fresh : Buffer.concat([held, fresh]);
    for (let length = requestLength(held); length !== undefined; length = requestLength(held)) {
      held = held.subarray(length);
      answered++;
      socket.write(answer);
    }
  });
}

const server = createServer(receive);
server.listen(0, '127.0.0.1', 1024, () => {
  process.send!((server.address() as AddressInfo).port);
  setInterval(() => {
    if (answered !== told) process.send!((told = answered));
  }, reportMs);
});
process.once('disconnect', () => process.exit());
