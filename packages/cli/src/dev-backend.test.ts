// The example services behave as the lines that `waitless dev` prints promise.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type DevBackend, startDevBackend } from './dev-backend.ts';
import { fakeServer } from './support.test.ts';

async function start(t: TestContext): Promise<DevBackend> {
  const backend = await startDevBackend({ scoreMs: 0, stageMs: 0, onError: (error) => t.diagnostic(error.message) });
  t.after(() => backend.stop());
  return backend;
}

test('score: the same customer has the same score, another has another, and bad input is told', async (t) => {
  const { url } = await start(t);
  const ask = async (body: string): Promise<[number, { score?: number; error?: string }]> => {
    const response = await fetch(`${url}/score`, { method: 'POST', body });
    return [response.status, (await response.json()) as { score?: number }];
  };
  const [status, first] = await ask('{"customerId":"42"}');
  assert.equal(status, 200);
  assert.ok(first.score! >= 300 && first.score! <= 850);
  assert.deepEqual(await ask('{"customerId":"42"}'), [200, first]);
  assert.notEqual((await ask('{"customerId":"43"}'))[1].score, first.score);
  for (const [body, code] of [
    ['{', 400],
    ['null', 422],
    ['{}', 422],
    ['[]', 422],
  ] as const)
    assert.equal((await ask(body))[0], code, body);
});

test('echo gives bytes back as they came', async (t) => {
  const { url } = await start(t);
  const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const response = await fetch(`${url}/echo/deep?x=1`, {
    method: 'PUT',
    body: bytes,
    headers: { 'Content-Type': 'image/png' },
  });
  assert.equal(response.headers.get('content-type'), 'image/png');
  assert.deepEqual(new Uint8Array(await response.arrayBuffer()), bytes);
  assert.equal(((await (await fetch(`${url}/echo/deep?x=1`)).json()) as { url: string }).url, '/echo/deep?x=1');
  assert.equal((await fetch(`${url}/constructor`)).status, 404);
});

test('pizza-oven answers 202, reports rising progress, then replies; a 409 ends the work', async (t) => {
  const { url } = await start(t);
  const { promise: replied, resolve } = Promise.withResolvers<void>();
  let refuse = false;
  const { promise: refused, resolve: sawRefusal } = Promise.withResolvers<void>();
  const waitless = await fakeServer(t, ({ path }, response) => {
    response.writeHead(refuse ? 409 : 200).end('{}');
    if (path === '/reply') resolve();
    if (refuse) sawRefusal();
  });
  const order = (): Promise<Response> =>
    fetch(`${url}/pizza-oven`, {
      method: 'POST',
      body: 'margherita',
      headers: { 'Operation-Reply-Url': `${waitless.url}/reply`, 'Operation-Progress-Url': `${waitless.url}/progress` },
    });
  assert.equal((await order()).status, 202);
  await replied;
  const reports = waitless.seen
    .filter((one) => one.path === '/progress')
    .map((one) => JSON.parse(one.body.toString()) as { stage: string; percent: number });
  assert.deepEqual(
    reports.map((one) => one.percent),
    [0, 25, 50, 75],
  );
  assert.ok(reports.every((one) => one.stage.length > 0));
  assert.equal((JSON.parse(waitless.seen.at(-1)!.body.toString()) as { order: string }).order, 'margherita');
  refuse = true;
  const before = waitless.seen.length;
  await order();
  await refused;
  // The backend stops after this refusal; a later call would come before the next order is answered.
  assert.equal((await fetch(`${url}/pizza-oven`, { method: 'POST' })).status, 400);
  assert.equal(waitless.seen.length, before + 1);
});
