// Three guests who order the same way and learn in three ways that their food is ready: by asking, by a pager, by a call.
import { setTimeout as pause } from 'node:timers/promises';

/**
 * @typedef {{ status: number, header: (name: string) => string | undefined, body: any }} Answer `body` is parsed JSON
 * @typedef {{ name: string, requests: number, polls: number, stages: string[], dish: string, lateMs: number }} Evening what a guest did and learned
 * @typedef {(what: string) => void} Tell
 * @typedef {{ url: string, signal: AbortSignal, tell: Tell }} Counter where the guest orders
 */

/** @param {string} name @returns {Evening} */
const begin = (name) => ({ name, requests: 0, polls: 0, stages: [], dish: '', lateMs: 0 });
const orderOf = (/** @type {string} */ dish) => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ dish }),
});
const numberOf = (/** @type {string} */ id) => `${id.slice(0, 8)}…`;
/** How long ago it was ready when the guest learned of it. @param {string} finishedAt */
const since = (finishedAt) => Math.max(0, Date.now() - Date.parse(finishedAt));

/** One request of a guest, counted. @param {Evening} guest @param {string} url @param {RequestInit & { signal: AbortSignal }} init */
function send(guest, url, init) {
  guest.requests++;
  return fetch(url, init);
}

/** Has a number and asks for it: too early once, and then as often as the counter says. @param {Counter} counter @returns {Promise<Evening>} */
export async function asks({ url, signal, tell }) {
  const guest = begin('Anna');
  const receipt = await send(guest, `${url}/v1/call/orders`, { ...orderOf('margherita'), signal });
  const { id, resourceLocation, links } = await receipt.json();
  tell(`orders a margherita and has a number at once: ${receipt.status}, ${numberOf(id)}`);
  for (let wait = 0; ;) {
    await pause(wait * 1000, undefined, { signal });
    guest.polls++;
    const answer = await send(guest, resourceLocation, { signal });
    const body = await answer.json();
    if (answer.status === 202) {
      wait = Number(answer.headers.get('retry-after'));
      tell(`asks: not complete (${body.progress?.stage ?? body.status}); told to come back in ${wait} s`);
      continue;
    }
    guest.dish = body.dish;
    break;
  }
  const { finishedAt } = await (await fetch(links.self, { signal })).json();
  guest.lateMs = since(finishedAt);
  tell(`asks: here is the ${guest.dish}`);
  return guest;
}

/** Takes a pager: the order is answered with everything that happens to it, as Server-Sent Events. @param {Counter} counter @returns {Promise<Evening>} */
export async function takesPager({ url, signal, tell }) {
  const guest = begin('Ben');
  const order = orderOf('funghi');
  const headers = { ...order.headers, Accept: 'text/event-stream' };
  const stream = await send(guest, `${url}/v1/call/orders`, { ...order, headers, signal });
  tell(`orders funghi and has a pager: ${stream.status}, ${numberOf(stream.headers.get('operation-id') ?? '')}`);
  for await (const event of eventsOf(stream)) {
    if (event.progress !== undefined) {
      guest.stages.push(event.progress.stage);
      tell(`pager: ${event.progress.stage}, ${event.progress.percent} %`);
    }
    if (!event.done) continue;
    guest.lateMs = since(event.finishedAt);
    tell(`pager: ${event.status}`);
    guest.dish = (await (await send(guest, event.resourceLocation, { signal })).json()).dish;
  }
  return guest;
}

/** The events of a stream, each as the JSON in its `data`. @param {Response} stream */
export async function* eventsOf(stream) {
  let rest = '';
  for await (const text of /** @type {ReadableStream} */ (stream.body).pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + text).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const data = block.split('\n').filter((line) => line.startsWith('data: '));
      if (data.length > 0) yield JSON.parse(data.map((line) => line.slice(6)).join('\n'));
    }
  }
}

/**
 * Leaves a phone number and goes away: the counter calls.
 * @param {Counter & { phone: { url: string, calls: AsyncIterable<any> } }} counter `calls` have been verified
 * @returns {Promise<Evening>}
 */
export async function leavesNumber({ url, signal, tell, phone }) {
  const guest = begin('Carla');
  const order = orderOf('diavola');
  const headers = { ...order.headers, 'Callback-Url': phone.url, 'Callback-Events': 'progress' };
  const receipt = await send(guest, `${url}/v1/call/orders`, { ...order, headers, signal });
  const { id } = await receipt.json();
  tell(`orders a diavola, leaves a phone number and goes: ${receipt.status}, ${numberOf(id)}`);
  for await (const { data } of phone.calls) {
    if (data.progress !== undefined) {
      guest.stages.push(data.progress.stage);
      tell(`phone: ${data.progress.stage}, ${data.progress.percent} % (signed)`);
    }
    if (!data.done) continue;
    guest.lateMs = since(data.finishedAt);
    guest.dish = data.result.body.dish;
    tell(`phone: ${data.status}, and with it the ${guest.dish} (signed)`);
    break;
  }
  return guest;
}
