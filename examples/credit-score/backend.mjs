// The slow API that Waitless stands in front of: it asks three bureaus, one after another, and knows next to nothing about Waitless.
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';

/** Base URLs of the bureaus, parted by commas. */
const bureaus = (process.env.BUREAUS ?? '').split(',').filter((url) => url !== '');
const port = Number(process.env.PORT || 0);

/**
 * Asks one bureau after another. Seconds to minutes, and nobody can make it faster.
 * @param {string} customerId
 * @param {{ signal?: AbortSignal, onBureau?: (number: number) => Promise<void> }} options `onBureau` is called before each bureau, with 1 for the first
 */
async function creditScore(customerId, { signal, onBureau } = {}) {
  const ratings = [];
  for (const [index, url] of bureaus.entries()) {
    await onBureau?.(index + 1);
    const response = await fetch(`${url}/rating?customer=${encodeURIComponent(customerId)}`, { signal });
    if (!response.ok) throw new Error(`bureau ${index + 1} answered ${response.status}`);
    ratings.push(await response.json());
  }
  const score = Math.round(ratings.reduce((sum, { rating }) => sum + rating, 0) / ratings.length);
  return { customerId, score, ratings };
}

/** An ordinary slow endpoint: the answer comes when it is there. Nothing in it is made for Waitless. */
async function score(customerId, request, response) {
  const hungUp = new AbortController();
  response.once('close', () => hungUp.abort());
  try {
    json(response, 200, await creditScore(customerId, { signal: hungUp.signal }));
  } catch (error) {
    // 502 is worth another attempt; a caller who has gone needs no answer.
    if (!hungUp.signal.aborted) json(response, 502, { error: error.message });
  }
}

/** An endpoint that answers later: 202 at once, then progress and the score to the URLs that came with the request. */
async function scoreLater(customerId, request, response) {
  const replyUrl = request.headers['operation-reply-url'];
  const progressUrl = request.headers['operation-progress-url'];
  if (replyUrl === undefined || progressUrl === undefined)
    return json(response, 400, { error: 'Operation-Reply-Url and Operation-Progress-Url are needed to answer later.' });
  response.writeHead(202).end();

  const total = bureaus.length;
  const stopped = new AbortController();
  const onBureau = async (number) => {
    const report = { stage: `bureau ${number} of ${total}`, percent: Math.floor((100 * (number - 1)) / total) };
    const { status } = await post(progressUrl, report);
    // 409: cancelled, or another attempt has taken over. The work is for nobody, so it ends here.
    if (status === 409) {
      stopped.abort();
      stopped.signal.throwIfAborted();
    }
  };
  try {
    const result = await creditScore(customerId, { signal: stopped.signal, onBureau });
    await post(replyUrl, result);
  } catch (error) {
    // The status counts as if this backend had answered with it: after 502 there is another attempt.
    if (!stopped.signal.aborted) await post(replyUrl, { error: error.message }, { 'Result-Status': '502' });
  }
}

/** Posts JSON; a server that is just restarting is asked again, so that an answer that took minutes is not lost. */
async function post(url, value, headers = {}) {
  const body = JSON.stringify(value);
  for (let tries = 1; ; tries++) {
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...headers },
        body,
      });
      await response.arrayBuffer();
      if (response.status < 500 || tries === 10) return response;
    } catch (error) {
      if (tries === 10) throw error;
    }
    await pause(500 * tries);
  }
}

function json(response, status, value) {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(value));
}

const endpoints = { '/score': score, '/score-later': scoreLater };

const server = createServer(async (request, response) => {
  const endpoint = Object.hasOwn(endpoints, request.url) ? endpoints[request.url] : undefined;
  if (endpoint === undefined || request.method !== 'POST')
    return json(response, 404, { error: `There are POST ${Object.keys(endpoints).join(' and POST ')}.` });
  let customerId;
  try {
    ({ customerId } = JSON.parse(await text(request)));
  } catch {
    return json(response, 400, { error: 'The body is not JSON.' });
  }
  if (typeof customerId !== 'string') return json(response, 422, { error: 'There is no customerId, a string.' });
  console.log(
    `${request.url} for customer ${customerId}, operation ${request.headers['operation-id'] ?? 'without an id'}`,
  );
  try {
    await endpoint(customerId, request, response);
  } catch (error) {
    console.log(`${request.url} for customer ${customerId} could not be answered: ${error.message}`);
  }
});
server.listen(port, '127.0.0.1', () => console.log(`backend ready: http://127.0.0.1:${server.address().port}`));

process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});
