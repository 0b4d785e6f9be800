// What accepts and stored results are held against: servers that answer 202 with a fresh id and store nothing, and a GET with the same bytes each
// time. Argument: `fastify` or `node:http`.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Fastify from 'fastify';
import { replyBody } from './payload.ts';

let last = 0;
const nextId = (): string => (++last).toString(36).padStart(13, '0');

async function startFastify(): Promise<number> {
  const app = Fastify();
  app.post('/requests', (_request, reply) => {
    const id = nextId();
    return reply.code(202).header('location', `/requests/${id}`).send({ id });
  });
  app.get('/results', (_request, reply) => reply.type('application/json').send(replyBody));
  await app.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
  return (app.server.address() as AddressInfo).port;
}

function startNodeHttp(): Promise<number> {
  const server = createServer((request, response) => {
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': replyBody.length });
      response.end(replyBody);
      return;
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const id = nextId();
      const body = `{"id":"${id}"}`;
      response.writeHead(202, {
        'content-type': 'application/json',
        'content-length': body.length,
        location: `/requests/${id}`,
      });
      response.end(body);
    });
  });
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', 4096, () => resolve((server.address() as AddressInfo).port)),
  );
}

process.on('disconnect', () => process.exit(0));
process.send!(await (process.argv[2] === 'fastify' ? startFastify() : startNodeHttp()));
