// Pollers that were not written for us reach the result unmodified: those that follow Operation-Location and those that know only Location.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHttpPoller, type OperationResponse, type OperationState, type RunningOperation } from '@azure/core-lro';
import { backendFor, gate } from '../support/backend.ts';
import { get, post, type Received } from '../support/http.ts';
import { serverFor } from '../support/server.ts';

/** An answer as the poller's library wants it from whatever HTTP client it is used with. */
function toResponse(method: string, url: string, { status, headers, text }: Received): OperationResponse<unknown> {
  const json = headers['content-type']?.includes('json') ? (JSON.parse(text) as unknown) : text;
  return {
    flatResponse: json,
    rawResponse: {
      statusCode: status,
      headers: headers as Record<string, string>,
      body: json as Record<string, unknown>,
      request: { method, url },
    },
  };
}

/** @param locationOnly the client does not know Operation-Location */
function operationAt(url: string, locationOnly: boolean): { lro: RunningOperation<unknown>; polled: string[] } {
  const polled: string[] = [];
  return {
    polled,
    lro: {
      async sendInitialRequest() {
        const answer = await post(url, { body: { customerId: 42 } });
        const headers = { ...answer.headers };
        if (locationOnly) delete headers['operation-location'];
        return toResponse('POST', url, { ...answer, headers });
      },
      async sendPollRequest(path) {
        polled.push(new URL(path).pathname.replace(/^\/v1\/operations\/[^/]+/, ''));
        return toResponse('GET', path, await get(path));
      },
    },
  };
}

const families = [
  ['Operation-Location', false],
  ['Location alone', true],
] as const;

for (const [family, locationOnly] of families) {
  test(`a poller that follows ${family} ends with the result`, async (t) => {
    const done = gate();
    const backend = await backendFor(t, async () => {
      await done.opened;
      return { headers: { 'Content-Type': 'application/json' }, body: '{"score": 7, "status": "excellent"}' };
    });
    const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });
    const { lro, polled } = operationAt(`${server.url}/v1/call/score`, locationOnly);
    const poller = createHttpPoller<unknown, OperationState<unknown>>(lro, { intervalInMs: 20 });
    await poller.poll();
    assert.equal(poller.operationState?.status, 'running');
    done.open();
    assert.deepEqual(await poller.pollUntilDone(), { score: 7, status: 'excellent' });
    assert.equal(poller.operationState?.status, 'succeeded');
    assert.equal(polled.at(-1), '/result', 'the result comes from where the first answer said');
    assert.equal(polled[0], locationOnly ? '/result' : '');
  });

  test(`a poller that follows ${family} sees a failure with its code and message`, async (t) => {
    const backend = await backendFor(t, () => ({
      status: 422,
      headers: { 'Content-Type': 'application/json' },
      body: '{"error": {"code": "NoSuchCustomer", "message": "there is no customer 42"}}',
    }));
    const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });
    const { lro } = operationAt(`${server.url}/v1/call/score`, locationOnly);
    const poller = createHttpPoller<unknown, OperationState<unknown>>(lro, { intervalInMs: 20 });
    const failure = await poller.pollUntilDone().then(
      () => assert.fail('it must fail'),
      (error: Error) => error,
    );
    assert.match(
      failure.message,
      locationOnly ? /NoSuchCustomer.*there is no customer 42/s : /backend-error.*the backend answered 422/s,
    );
    assert.equal(poller.operationState?.status, 'failed');
  });
}

test('a plain loop over the status URL, as in any shell, reaches the result', async (t) => {
  const backend = await backendFor(t, () => ({ body: 'the score' }));
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });
  const receipt = (await post(`${server.url}/v1/call/score`)).json<{ links: { self: string; result: string } }>();
  let status = '';
  while (!['succeeded', 'failed', 'cancelled'].includes(status))
    status = (await get(receipt.links.self)).json<{ status: string }>().status;
  assert.deepEqual([status, (await get(receipt.links.result)).text], ['succeeded', 'the score']);
});
