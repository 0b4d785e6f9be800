// A disk that fails a sync: nothing more is acknowledged, the process ends, and what was acknowledged before is there.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { cleanUp } from '../support/cleanup.ts';
import { get } from '../support/http.ts';
import { classify, Ledger, summary } from '../support/ledger.ts';
import { observe } from '../support/observe.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { submitLoad } from '../support/submit-load.ts';

const run = promisify(execFile);

/** Why no error can be injected here, or undefined. */
async function whyNoInjection(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'errors are injected with strace, which is of Linux';
  try {
    await run('strace', ['-f', '-qq', '-o', '/dev/null', '-e', 'inject=fsync,fdatasync:error=EIO:when=1', 'true']);
    return undefined;
  } catch (error) {
    return `strace cannot inject errors here: ${(error as Error).message.split('\n')[0]}`;
  }
}

/** A tracer that is killed leaves what it traces alone, so the server is ended by its own id. */
async function endTraced(tracer: number): Promise<void> {
  const children = await readFile(`/proc/${tracer}/task/${tracer}/children`, 'utf8').catch(() => '');
  for (const pid of children.trim().split(' ').filter(Boolean)) process.kill(Number(pid), 'SIGKILL');
}

async function failedSync(t: TestContext, { at }: { at: number }): Promise<void> {
  const folder = await temporaryFolder(t);
  const ledger = new Ledger(join(folder, 'ledger'));
  const settings = {
    services: { jobs: { target: { pull: true } } },
    data: join(folder, 'data'),
    fields: { logLevel: 'silent' },
  };
  // The store is made before, so that the failing sync is one of a submit and not of the first start.
  const before = await spawnServer(t, settings);
  assert.equal((await get(`${before.url}/readyz`)).status, 200);
  assert.equal((await before.end('SIGTERM')).code, 0);

  const inject = ['-e', 'trace=fsync,fdatasync', '-e', `inject=fsync,fdatasync:error=EIO:when=${at}`];
  const server = await spawnServer(t, { ...settings, under: ['strace', '-f', '-qq', '-o', '/dev/null', ...inject] });
  cleanUp(t, () => endTraced(server.pid));
  const over = new AbortController();
  void server.exited.then(() => over.abort());
  await submitLoad({
    ledger,
    service: 'jobs',
    callers: 4,
    count: 3000,
    over: over.signal,
    bodyBytes: () => 500,
    server: () => Promise.resolve(server.url),
  });
  const { code } = await server.exited;
  assert.equal(code, 1, 'it ends by itself and says that something is wrong');

  const first = ledger.lines.findIndex(({ outcome }) => outcome !== 'ok');
  assert.ok(first > 0, `the sync failed in the midst of submits, at line ${first}`);
  assert.equal(
    ledger.lines.slice(first).filter(({ outcome }) => outcome === 'ok').length,
    0,
    'no ack after the failed sync',
  );
  const next = await spawnServer(t, { ...settings, port: server.port });
  const verdict = classify(ledger.last('submit'), await observe(next.url, 'jobs'));
  t.diagnostic(`sync ${at} failed: ${summary(verdict)}`);
  for (const kind of ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const)
    assert.deepEqual(verdict[kind], [], kind);
}

test(
  'after a failed sync nothing is acknowledged, the server ends with 1, and a restart finds all that was',
  { timeout: 60_000 },
  async (t) => {
    const reason = await whyNoInjection();
    if (reason) return t.skip(`skipped: ${reason}`);
    await failedSync(t, { at: 40 });
  },
);
