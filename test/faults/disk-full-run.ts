// Fills a small disk under load, looks around while it is full, frees it, and judges: what the short and the long test share.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { stat } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { noise, sha256 } from '../support/fixtures.ts';
import { get, post, send, until } from '../support/http.ts';
import { classify, Ledger, summary, type Verdict } from '../support/ledger.ts';
import { observe } from '../support/observe.ts';
import { assertProblem, statusOf } from '../support/operations.ts';
import { leaseCall, leasedBody, reply } from '../support/pull-worker.ts';
import { temporaryFolder } from '../support/server.ts';
import type { SmallDisk } from '../support/small-disk.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { submitLoad } from '../support/submit-load.ts';

const bodyBytes = 100_000;
/** Room for the load: enough for progress, little enough to be full soon. */
const megabytesLeft = 16;
/** Of the work in hand when the disk is full. */
const held = 30;

const judged = ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const;

function assertSound(t: TestContext, verdict: Verdict): void {
  t.diagnostic(summary(verdict));
  for (const kind of judged) assert.deepEqual(verdict[kind], [], kind);
}

/** Fills the disk, frees it and sees the same process take work again, so many times; then starts a second one on what is there. */
export async function diskFullRun(t: TestContext, disk: SmallDisk, { cycles }: { cycles: number }): Promise<void> {
  const folder = await temporaryFolder(t);
  const data = join(disk.folder, 'data');
  const settings = {
    services: { jobs: { target: { pull: true }, lease: '1h' } },
    data,
    fields: { logLevel: 'silent' },
  };
  const server = await spawnServer(t, settings);
  for (let cycle = 1; ; cycle++) {
    // The server reserves room for the answers of running work; a disk that fills before that has nothing to give up.
    await until(() =>
      stat(join(data, 'ballast')).then(
        ({ size }) => (size >= 16 << 20 ? true : undefined),
        () => undefined,
      ),
    );
    const ledger = new Ledger(join(folder, `ledger-${cycle}`));
    await disk.occupyAllBut(megabytesLeft);
    await fillAndFree(t, { url: server.url, disk, ledger });
    if (cycle === cycles) {
      assert.deepEqual(await server.end('SIGTERM'), { code: 0, signal: null }, server.printed);
      const next = await spawnServer(t, { ...settings, port: server.port });
      return assertSound(t, classify(ledger.last('submit'), await observe(next.url, 'jobs', { answers: 'sha' })));
    }
    const seen = await observe(server.url, 'jobs', { answers: 'sha' });
    assertSound(t, classify(ledger.last('submit'), seen));
    for (const { id } of seen)
      assert.equal((await send(`${server.url}/v1/operations/${id}?purge=true`, { method: 'DELETE' })).status, 204);
  }
}

async function fillAndFree(
  t: TestContext,
  { url, disk, ledger }: { url: string; disk: SmallDisk; ledger: Ledger },
): Promise<void> {
  const load = { ledger, service: 'jobs', callers: 8, server: () => Promise.resolve(url) };
  await submitLoad({ ...load, prefix: 'held', count: held, bodyBytes: () => 1024 });
  const { leases } = await leaseCall(url, 'jobs', { max: held });
  assert.equal(leases.length, held);

  const full = new AbortController();
  let refused = 0;
  await submitLoad({
    ...load,
    prefix: 'fill',
    count: 5000,
    over: full.signal,
    bodyBytes: () => bodyBytes,
    after: (outcome) => {
      if (outcome === 'fail' && ++refused === 20) full.abort();
    },
  });
  assert.ok(refused >= 20, 'the disk was filled');
  const answer = await post(`${url}/v1/call/jobs`, { body: noise(bodyBytes), headers: { 'Correlation-Id': 'never' } });
  assertProblem(answer, 507, 'insufficient-storage');
  assert.equal(answer.json()['accepted'], false);

  // Reading goes on, and the answers of the work in hand are still recorded.
  const [first] = leases;
  assert.equal((await statusOf(`${url}/v1/operations/${first!.operation.id}`)).status, 'running');
  for (const path of ['/livez', '/v1/operations?limit=100', '/v1/services', '/metrics'])
    assert.equal((await get(url + path)).status, 200, path);
  let recorded = 0;
  for (const lease of leases) if ((await reply(url, lease.token, leasedBody(lease))).status === 200) recorded++;
  t.diagnostic(
    `${ledger.lines.length} submits, ${refused} refused; ${recorded} of ${leases.length} answers recorded while full`,
  );
  assert.ok(recorded >= leases.length * 0.99, `${recorded} of ${leases.length} answers of running work were recorded`);
  assert.deepEqual((await get(`${url}/v1/operations/${first!.operation.id}/result`)).body, leasedBody(first!));

  await disk.free();
  await until(async () => {
    const body = noise(bodyBytes, 77);
    const again = await post(`${url}/v1/call/jobs`, { body, headers: { 'Correlation-Id': 'healed' } });
    if (again.status !== 202) {
      assertProblem(again, 507, 'insufficient-storage');
      return undefined;
    }
    ledger.add({
      op: 'submit',
      key: 'healed',
      bodySha: sha256(body),
      outcome: 'ok',
      id: again.headers['operation-id']!,
    });
    return true;
  });
}
