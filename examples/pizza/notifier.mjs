// The notifier is called with every event and sends the guests messages: here it prints them. It takes calls only from Waitless.
import { createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { verifyWebhook } from '@waitless/client';

const secret = process.env.NOTIFIER_SECRET ?? '';
/** An event that comes again, because the answer to it was lost, has the same id, and nobody is told twice. */
const known = new Set();

/** What a guest is told, by the type of the event. @type {Record<string, (data: { guest: string, pizza: string, order: string }) => string>} */
const messages = {
  OrderPlaced: ({ guest, pizza }) => `to ${guest}: we have your order, a ${pizza}`,
  OrderReady: ({ guest, pizza, order }) => `to ${guest}: your ${pizza} is ready for pickup (${order})`,
};

const server = createServer(async (request, response) => {
  const body = await buffer(request);
  try {
    const { id } = await verifyWebhook({ headers: request.headers, body, secrets: secret });
    const { type, data } = JSON.parse(body.toString());
    if (!known.has(id)) console.log(messages[type]?.(data) ?? `to nobody: ${type}`);
    known.add(id);
    response.writeHead(204).end();
  } catch (error) {
    response.writeHead(401, { 'Content-Type': 'text/plain' }).end(error.message);
  }
});
server.listen(0, '127.0.0.1', () => console.log(`notifier ready: http://127.0.0.1:${server.address().port}/`));

process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});
