// The pull worker's counterpart for RabbitMQ: takes every request of the queue and answers it with the same small reply. Argument: URL of RabbitMQ.
import { connect } from 'amqplib';
import { replyBody } from './payload.ts';
import { amqpSocket, prefetch, queues, replies } from './rabbit-queues.ts';

const reply = Buffer.from(replyBody);
const connection = await connect(process.argv[2]!, amqpSocket);
connection.on('error', fail);
const channel = await connection.createChannel();
const { name, options } = queues.jobs;
await channel.assertQueue(name, options);
await channel.assertQueue(replies.name, replies.options);
await channel.prefetch(prefetch);
await channel.consume(name, (message) => {
  if (!message) return fail(new Error('the queue of requests is gone'));
  const { replyTo, correlationId } = message.properties as { replyTo: string; correlationId: string };
  channel.sendToQueue(replyTo, reply, { persistent: true, correlationId, contentType: 'application/json' });
  channel.ack(message);
});

function fail(error: Error): void {
  process.stderr.write(`the worker of RabbitMQ had to stop: ${error.message}\n`);
  process.exit(1);
}

process.on('disconnect', () => process.exit(0));
process.send!('ready');
