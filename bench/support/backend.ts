// A push backend that takes its time. Argument: milliseconds until it answers.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { replyBody } from './payload.ts';

const delayMs = Number(process.argv[2]);
const server = createServer((request, response) => {
  request.resume();
  setTimeout(() => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': replyBody.length });
    response.end(replyBody);
  }, delayMs);
});
process.on('disconnect', () => process.exit(0));
server.listen(0, '127.0.0.1', 4096, () => process.send!((server.address() as AddressInfo).port));
