// A page watches an operation with the browser's own EventSource while the server is killed again and again: it must see every event once.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { pageFor } from '../support/browser.ts';
import { freePort } from '../support/free-port.ts';
import { post, send } from '../support/http.ts';
import { siteFor } from '../support/page-server.ts';
import { temporaryFolder, writeKeyFile } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';

/** What such a page has, in ten lines. It never closes its EventSource: the server says that there is no more. */
const page = `
  const kinds = ['queued', 'running', 'progress', 'succeeded', 'failed', 'cancelled', 'reset'];
  const told = (globalThis.told = []);
  globalThis.opened = 0;
  globalThis.watchAt = (url) => {
    globalThis.source = new EventSource(url);
    source.onopen = () => opened++;
    for (const kind of kinds)
      source.addEventListener(kind, ({ data, lastEventId }) => told.push({ kind, lastEventId, version: JSON.parse(data).version }));
  };
  globalThis.ready = true;
`;

interface Told {
  kind: string;
  lastEventId: string;
  version: number;
}

export async function watchThroughKills(t: TestContext, kills: number): Promise<void> {
  const folder = await temporaryFolder(t);
  const { path: apiKeyFile, keys } = await writeKeyFile(folder, ['default']);
  const key = keys.get('default')!;
  const site = await siteFor(t, page);
  const server = await spawnServer(t, {
    services: { jobs: { target: { pull: true }, timeout: '1h' } },
    fields: { apiKeyFile, corsOrigin: [site] },
    data: join(folder, 'data'),
    port: await freePort(),
    nodes: 1,
  });
  const accepted = await post(`${server.url}/v1/call/jobs`, { key, body: 'x' });
  const id = accepted.headers['operation-id']!;
  const made = await post(`${server.url}/v1/tokens`, { key, body: { operations: [id], expiresIn: '1h' } });
  const { token } = made.json<{ token: string }>();
  const taken = await post(`${server.url}/v1/services/jobs/leases`, { key, body: { worker: 'w', leaseSeconds: 3600 } });
  const lease = `${server.url}/v1/leases/${taken.json<{ leases: { token: string }[] }>().leases[0]!.token}`;

  const tab = await pageFor(t);
  await tab.goto(site);
  await tab.waitForFunction('globalThis.ready');
  await tab.evaluate(`watchAt(${JSON.stringify(`${server.url}/v1/operations/${id}/events?token=${token}`)})`);

  // The worker never rests; where the server is down its report is lost, which is no event.
  let reporting = true;
  const reports = (async () => {
    for (let n = 1; reporting; n++) {
      const answer = await send(`${lease}/progress`, { method: 'POST', body: { stage: `step ${n}` } }).catch(
        () => null,
      );
      if (answer) assert.equal(answer.status, 200, answer.text);
      await new Promise((resolve) => setTimeout(resolve, answer ? 10 : 50));
    }
  })();
  const count = (): Promise<number> => tab.evaluate('told.length');
  for (let kill = 1; kill <= kills; kill++) {
    const before = await count();
    await tab.waitForFunction(`told.length > ${before + 5} && opened === ${kill}`, undefined, { timeout: 60_000 });
    await server.killAndStart(0);
  }
  await tab.waitForFunction(`opened === ${kills + 1}`, undefined, { timeout: 60_000 });
  reporting = false;
  await reports;
  assert.equal((await post(`${lease}/reply`, { body: 'done' })).status, 200);
  // 2: closed for good, by the 204 that answers its last coming back.
  await tab.waitForFunction('source.readyState === 2', undefined, { timeout: 60_000 });

  const told = await tab.evaluate<Told[]>('told');
  assert.deepEqual(
    told.map(({ version }) => version),
    told.map((_, index) => index + 1),
    'every version once and in order',
  );
  assert.ok(told.length > kills * 5);
  assert.deepEqual(
    told.map(({ lastEventId }) => lastEventId),
    told.map(({ version }) => `${id}_${version}`),
  );
  assert.deepEqual([told[0]!.kind, told[1]!.kind, told.at(-1)!.kind], ['queued', 'running', 'succeeded']);
  assert.ok(told.slice(2, -1).every(({ kind }) => kind === 'progress'));
  t.diagnostic(`${kills} kills, ${told.length} events`);
}
