// What one would write in front of RabbitMQ to get our API's shape: Fastify, a durable queue, and the result to those who wait. Argument: URL of RabbitMQ.
//
// POST /QUEUE publishes the body and answers 202 with an id once RabbitMQ has confirmed it, or with `Prefer: wait` the result when it is there.
// GET /requests/ID waits for the result. Results live in this process only; ours are stored.
import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { connect } from 'amqplib';
import Fastify from 'fastify';
import { amqpSocket, prefetch, queues, replies } from './rabbit-queues.ts';

const connection = await connect(process.argv[2]!, amqpSocket);
connection.on('error', fail);
const publisher = await connection.createConfirmChannel();
const consumer = await connection.createChannel();
for (const { name, options } of Object.values(queues)) await publisher.assertQueue(name, options);
await consumer.assertQueue(replies.name, replies.options);
await consumer.prefetch(prefetch);

/** By id: who waits, or the result of a request that nobody waits for yet. */
const waiting = new Map<string, (result: Buffer) => void>();
const results = new Map<string, Buffer>();

await consumer.consume(replies.name, (message) => {
  if (!message) return fail(new Error('the queue of replies is gone'));
  const id = message.properties.correlationId as string;
  const waiter = waiting.get(id);
  if (waiter) {
    waiting.delete(id);
    waiter(message.content);
  } else results.set(id, message.content);
  consumer.ack(message);
});

/** Resolves when RabbitMQ has written and synced it. */
const publish = (queue: string, body: Buffer, id: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const options = { persistent: true, correlationId: id, replyTo: replies.name, contentType: 'application/json' };
    publisher.sendToQueue(queue, body, options, (error: Error | null) => (error ? reject(error) : resolve()));
  });

function resultOf(id: string): Promise<Buffer> {
  const result = results.get(id);
  results.delete(id);
  return result ? Promise.resolve(result) : new Promise((resolve) => waiting.set(id, resolve));
}

const app = Fastify();
// Bytes in, bytes out, as ours: parsing them would only cost RabbitMQ's side time.
app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
for (const { name } of Object.values(queues))
  app.post<{ Body: Buffer }>(`/${name}`, async (request, reply) => {
    const id = randomUUID();
    if (request.headers['prefer'] === undefined) {
      await publish(name, request.body, id);
      return reply.code(202).header('location', `/requests/${id}`).send({ id });
    }
    // Asked for before it is published, since the reply may overtake the confirmation.
    const result = resultOf(id);
    await publish(name, request.body, id);
    return reply.type('application/json').send(await result);
  });
app.get<{ Params: { id: string } }>('/requests/:id', async (request, reply) =>
  reply.type('application/json').send(await resultOf(request.params.id)),
);

function fail(error: Error): void {
  process.stderr.write(`the front of RabbitMQ had to stop: ${error.message}\n`);
  process.exit(1);
}

process.on('disconnect', () => process.exit(0));
await app.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
process.send!((app.server.address() as AddressInfo).port);
