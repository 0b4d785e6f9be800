// Submits and replies, a restart, more of both, a power cut, then the judgement: what the short and the long test share.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Settlement } from '@waitless/protocol';
import { sha256 } from '../support/fixtures.ts';
import { classify, Ledger, type LedgerLine, summary, type Verdict, whyVoid } from '../support/ledger.ts';
import { observe } from '../support/observe.ts';
import { makeDisk, writtenBytes } from '../support/power-cut.ts';
import { leaseCall, leasedBody } from '../support/pull-worker.ts';
import { temporaryFolder } from '../support/server.ts';
import { type ServerProcess, spawnServer } from '../support/spawn-server.ts';
import { submitLoad } from '../support/submit-load.ts';

/** Above about 2 MB/s the kernel writes pages back by itself and hides losses. */
const mostBytesPerSecond = 1_600_000;
const voidBytesPerSecond = 2_000_000;
/** Submissions of one round, made together, so that they share commits as busy callers do: one by one each would write five times as much. */
const perRound = 16;

export interface PowerCutRun {
  /** Submissions before the restart and between the restart and the cut. */
  submits: [before: number, after: number];
  /** How the server is stopped before it is restarted. */
  restart: 'SIGTERM' | 'SIGKILL';
  /** true: the server never syncs, and the run must find losses. */
  weak: boolean;
}

export interface PowerCutOutcome {
  submitted: Verdict;
  replied: Verdict;
  void: string | undefined;
}

const weakServer = fileURLToPath(new URL('../support/weak-server.ts', import.meta.url));

export async function powerCutRun(t: TestContext, { submits, restart, weak }: PowerCutRun): Promise<PowerCutOutcome> {
  const disk = await makeDisk(t, { megabytes: 256 });
  const ledger = new Ledger(join(await temporaryFolder(t), 'ledger'));
  const settings = { services: { jobs: { target: { pull: true }, lease: '2s' } }, data: join(disk.folder, 'data') };
  const spawn = (port: number): Promise<ServerProcess> =>
    spawnServer(t, { ...settings, port, ...(weak ? { program: weakServer } : {}) });
  let rate = 0;

  /**
   * Rounds of submissions and of a worker's answers, until so many submissions are acknowledged. With `kill` the server is killed in the
   * midst of one more round.
   */
  async function work(
    server: ServerProcess,
    { count, prefix, kill }: { count: number; prefix: string; kill?: () => void },
  ): Promise<void> {
    const begun = performance.now();
    const writtenBefore = await writtenBytes(server.pid, settings.data);
    const worker = echoWorker(server.url, ledger);
    let acknowledged = 0;
    for (let round = 0; ; round++) {
      const last = acknowledged >= count;
      if (last && !kill) return worker.end();
      let first = true;
      const submits = submitLoad({
        ledger,
        service: 'jobs',
        prefix: `${prefix}-${round}`,
        callers: perRound,
        count: perRound,
        bodyBytes: (index) => (index === 7 && round % 8 === 0 ? 150_000 : 700),
        server: () => Promise.resolve(server.url),
        after: (outcome) => {
          if (outcome === 'ok') acknowledged++;
          if (last && first) kill?.();
          first = false;
        },
      });
      await Promise.all([submits, worker.step()]);
      if (last) return;
      const elapsed = (): number => (performance.now() - begun) / 1000;
      // Read again in each turn: a ballast that is just being made counts as written until it can be told.
      const rateNow = async (): Promise<number> =>
        ((await writtenBytes(server.pid, settings.data)) - writtenBefore) / elapsed();
      // Not a wait for something to happen: it is the load that is slowed down to the rate at which losses show.
      while ((rate = await rateNow()) > mostBytesPerSecond) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  const first = await spawn(0);
  await work(first, { count: submits[0], prefix: 'before' });
  await first.end(restart);
  const second = await spawn(first.port);
  let faultAt = 0;
  const kill = (): void => {
    faultAt = Date.now();
    void second.end('SIGKILL');
  };
  await work(second, { count: submits[1], prefix: 'after', kill });
  await second.exited;
  const { folder } = await disk.cut();

  // Judged by a sound server in every case: it is the disk's content that is in question.
  const third = await spawnServer(t, { ...settings, data: join(folder, 'data'), port: first.port });
  const seen = await observe(third.url, 'jobs');
  const submitted = classify(ledger.last('submit'), seen);
  const told = ledger.last('reply');
  // The worker echoes, as the judge does: what tells a reply that was kept is that nobody had to answer again.
  const replied = classify(
    told,
    seen.filter(({ key, pending }) => told.has(key) && !pending),
  );
  assert.deepEqual(await third.end('SIGTERM'), { code: 0, signal: null });
  t.diagnostic(`submits: ${summary(submitted)}; replies: ${summary(replied)}; ${(rate / 1e6).toFixed(2)} MB/s written`);
  const beforeFault = ledger.lines.filter(({ t: at }) => at <= faultAt);
  const tooFast = rate > voidBytesPerSecond ? `${rate} bytes/s were written` : undefined;
  return { submitted, replied, void: tooFast ?? whyVoid(beforeFault, [faultAt]) };
}

/** A worker that echoes, a batch with each step, answering with the next step what it got with the last. */
function echoWorker(url: string, ledger: Ledger): { step(max?: number): Promise<void>; end(): Promise<void> } {
  let settle: Settlement[] = [];
  let lines: Omit<LedgerLine, 't' | 'outcome'>[] = [];

  async function step(max = perRound): Promise<void> {
    const answer = await leaseCall(url, 'jobs', { max, settle }).catch(() => undefined);
    for (const [index, line] of lines.entries()) {
      const status = answer?.settled[index]?.status;
      ledger.add({ ...line, outcome: status === undefined ? 'info' : status === 200 ? 'ok' : 'fail' });
    }
    const leases = answer?.leases ?? [];
    const bodies = leases.map(leasedBody);
    settle = leases.map(({ token }, index) => ({ token, reply: { bodyBase64: bodies[index]!.toString('base64') } }));
    lines = leases.map(({ operation: { correlationId: key, id } }, index) => ({
      op: 'reply',
      key,
      id,
      bodySha: sha256(bodies[index]!),
    }));
  }

  return {
    step,
    /** Answers what is left in hand. What it is given in exchange comes back when its lease has run out. */
    end: () => step(1),
  };
}
