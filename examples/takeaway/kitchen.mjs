// A takeaway kitchen as a slow API: it cooks while the request waits, and answers with the food. It says how far it is to whoever gave it a URL for that.
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';

const port = Number(process.env.PORT || 0);
/** Factor on every wait: 1 is 6 seconds a dish, tests take less. */
const pace = Number(process.env.KITCHEN_PACE || 1);

/** What happens to every dish, and how long each of it takes. */
const stages = [
  { stage: 'prepared', percent: 0, ms: 1500 },
  { stage: 'in the oven', percent: 25, ms: 3000 },
  { stage: 'packed', percent: 75, ms: 1500 },
];

/** @param {string} dish @param {{ progressUrl?: string, signal: AbortSignal }} options */
async function cook(dish, { progressUrl, signal }) {
  for (const { stage, percent, ms } of stages) {
    if (progressUrl !== undefined) await report(progressUrl, { stage, percent });
    await pause(ms * pace, undefined, { signal });
  }
  return { dish, ready: 'at the counter' };
}

/** Nobody cooks worse because nobody listens. @param {string} url @param {object} progress */
async function report(url, progress) {
  const headers = { 'Content-Type': 'application/json' };
  try {
    await (await fetch(url, { method: 'POST', headers, body: JSON.stringify(progress) })).arrayBuffer();
  } catch (error) {
    console.log(`progress was not heard: ${error.message}`);
  }
}

const server = createServer(async (request, response) => {
  const answer = (/** @type {number} */ status, /** @type {object} */ value) => {
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(value));
  };
  if (request.method !== 'POST' || request.url !== '/orders') return answer(404, { error: 'There is POST /orders.' });
  const hungUp = new AbortController();
  response.once('close', () => hungUp.abort());
  try {
    const { dish } = JSON.parse(await text(request));
    if (typeof dish !== 'string') return answer(422, { error: 'There is no dish, a string.' });
    console.log(`an order: ${dish}`);
    const progressUrl = /** @type {string | undefined} */ (request.headers['operation-progress-url']);
    answer(200, await cook(dish, { progressUrl, signal: hungUp.signal }));
  } catch (error) {
    if (!hungUp.signal.aborted) answer(400, { error: `The order cannot be read: ${error.message}` });
  }
});
server.listen(port, '127.0.0.1', () => console.log(`kitchen ready: http://127.0.0.1:${server.address().port}`));

process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});
