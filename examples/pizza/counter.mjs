// The counter takes orders and tells everybody. It makes no pizza and writes no message, and it does not know who does.
import { createClient } from '@waitless/client';

const client = createClient({ url: process.env.WAITLESS_URL });

const worker = client.worker(
  'orders',
  async ({ id: order, json }) => {
    const { guest, pizza } = json();
    if (typeof guest !== 'string' || typeof pizza !== 'string')
      return { status: 422, json: { error: 'An order has a guest and a pizza.' } };
    // The event has the order's id: should this be done twice, because the counter died in the middle, it is told once.
    await client.publish(
      'pizza.ordered',
      { order, guest, pizza },
      // What the event starts can be found by the order's number.
      { type: 'OrderPlaced', source: '/pizzeria/counter', id: order, extensions: { correlationid: order } },
    );
    console.log(`tells everybody: ${guest} ordered a ${pizza}`);
    return { status: 201, json: { order, pizza, says: 'OK' } };
  },
  { name: 'counter' },
);
console.log('counter ready');

process.once('SIGTERM', () => void worker.stop());
await worker.done;
