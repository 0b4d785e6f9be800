// A cook: makes one pizza after another, and says how far it is. Any number of them share the work; each pizza is made by one.
import { setTimeout as pause } from 'node:timers/promises';
import { createClient } from '@waitless/client';

const client = createClient({ url: process.env.WAITLESS_URL });
const name = process.env.EXECUTOR || 'executor';
/** Factor on every wait: 1 is 4 seconds a pizza, tests take less. */
const pace = Number(process.env.PIZZA_PACE || 1);

const stages = [
  { stage: 'Prep', percent: 0, ms: 1000 },
  { stage: 'Bake', percent: 25, ms: 1000 },
  { stage: 'Oven', percent: 50, ms: 2000 },
];
/** Slices are warmed up only. */
const share = (/** @type {string} */ pizza) => (pizza === 'slice' ? 0.05 : 1);

const worker = client.worker(
  'kitchen',
  async ({ id, correlationId: order, json, progress, signal }) => {
    const { guest, pizza } = json();
    for (const { stage, percent, ms } of stages) {
      await progress({ stage, percent });
      console.log(`${pizza} for ${guest}: ${stage}`);
      await pause(ms * share(pizza) * pace, undefined, { signal });
    }
    const ready = { order, guest, pizza, by: name };
    const about = { type: 'OrderReady', source: '/pizzeria/kitchen', id, extensions: { correlationid: order } };
    await client.publish('pizza.ready', ready, about);
    console.log(`ready: ${order} ${pizza} for ${guest}`);
    return { json: ready };
  },
  // One at a time; should this process die, another one has the pizza after ten seconds at the latest.
  { name, concurrency: 1, leaseSeconds: 10 },
);
console.log('executor ready');

process.once('SIGTERM', () => void worker.stop({ graceSeconds: 0 }));
await worker.done;
