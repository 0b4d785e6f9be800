// Publishes and a puller's answers, a restart, more of both, a power cut; then what the disk holds of what was acknowledged.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sha256 } from '../support/fixtures.ts';
import { get } from '../support/http.ts';
import { classify, Ledger, summary, type Verdict, whyVoid } from '../support/ledger.ts';
import { makeDisk, writtenBytes } from '../support/power-cut.ts';
import { publishLoad } from '../support/publish-load.ts';
import { temporaryFolder } from '../support/server.ts';
import { type ServerProcess, spawnServer } from '../support/spawn-server.ts';
import { askForEvents, type EventLeases, pullEvents, putSubscription, subscriptionAt } from '../support/subscribers.ts';
import { allEvents } from '../support/topics.ts';

/** Above about 2 MB/s the kernel writes pages back by itself and hides losses. */
const mostBytesPerSecond = 1_600_000;
const voidBytesPerSecond = 2_000_000;
const perRound = 16;
const weakServer = fileURLToPath(new URL('../support/weak-server.ts', import.meta.url));

export interface EventPowerCut {
  /** Events before the restart and between the restart and the cut. */
  events: [before: number, after: number];
  restart: 'SIGTERM' | 'SIGKILL';
  /** true: the server never syncs, and the run must find losses. */
  weak: boolean;
}

export interface EventPowerCutOutcome {
  published: Verdict;
  /** Acknowledged with 200, and handed out again after the cut. */
  cameBack: string[];
  /** Neither acknowledged nor handed out after the cut. */
  missing: string[];
  acked: number;
  /** The cursor before the cut, as it was when the last acknowledgement was answered, and after it. */
  cursor: [before: number, after: number];
  void: string | undefined;
}

export async function eventPowerCut(
  t: TestContext,
  { events, restart, weak }: EventPowerCut,
): Promise<EventPowerCutOutcome> {
  const disk = await makeDisk(t, { megabytes: 256 });
  const ledger = new Ledger(join(await temporaryFolder(t), 'ledger'));
  const data = join(disk.folder, 'data');
  const spawn = (port: number): Promise<ServerProcess> =>
    spawnServer(t, { data, own: true, nodes: 1, port, ...(weak ? { program: weakServer } : {}) });
  const acked = new Set<string>();
  /** Said to be done, and nobody knows whether that was heard. */
  const unknown = new Set<string>();
  let settle: { token: string; ack: true }[] = [];
  let held: string[] = [];
  let rate = 0;
  let cursor = 0;

  async function pull(url: string): Promise<void> {
    const answer = await askForEvents(url, 'kept', { max: perRound, leaseSeconds: 3600, settle }).catch(
      () => undefined,
    );
    if (answer?.status !== 200) {
      for (const id of held) unknown.add(id);
      return;
    }
    const { settled, leases } = answer.json<EventLeases>();
    for (const [at, { status }] of settled.entries()) if (status === 200) acked.add(held[at]!);
    // Of what was acknowledged the cursor is past; what is only handed out may be handed out again.
    for (const { position } of leases) cursor = Math.max(cursor, position - 1);
    held = leases.map(({ event }) => event.id);
    settle = leases.map(({ token }) => ({ token, ack: true }));
  }

  async function work(
    server: ServerProcess,
    { count, prefix, kill }: { count: number; prefix: string; kill?: () => void },
  ): Promise<void> {
    const begun = performance.now();
    const before = await writtenBytes(server.pid, data);
    let acknowledged = 0;
    for (let round = 0; ; round++) {
      const isLast = acknowledged >= count;
      if (isLast && !kill) return;
      let isFirst = true;
      const load = publishLoad({
        ledger,
        prefix: `${prefix}-${round}`,
        publishers: perRound,
        count: perRound,
        topicOf: () => 'kept.events',
        repeated: false,
        server: () => Promise.resolve(server.url),
        after: (some) => {
          acknowledged += some;
          if (isLast && isFirst) kill?.();
          isFirst = false;
        },
      });
      await Promise.all([load, pull(server.url)]);
      if (isLast) return;
      const rateNow = async (): Promise<number> =>
        ((await writtenBytes(server.pid, data)) - before) / ((performance.now() - begun) / 1000);
      // Not a wait for something to happen: it is the load that is slowed down to the rate at which losses show.
      while ((rate = await rateNow()) > mostBytesPerSecond) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  const first = await spawn(0);
  await putSubscription(first.url, 'kept', { topic: 'kept.*', target: { pull: true }, maxInFlight: 10_000 });
  await work(first, { count: events[0], prefix: 'before' });
  await first.end(restart);
  const second = await spawn(first.port);
  let faultAt = 0;
  const kill = (): void => {
    faultAt = Date.now();
    void second.end('SIGKILL');
  };
  await work(second, { count: events[1], prefix: 'after', kill });
  await second.exited;
  const { folder } = await disk.cut();

  // Judged by a sound server in every case: it is the disk's content that is in question.
  const third = await spawnServer(t, { data: join(folder, 'data'), own: true, nodes: 1, port: first.port });
  const kept = await allEvents(third.url, 'kept.**');
  const published = classify(
    ledger.last('publish'),
    kept.map(({ position, event }) => ({
      key: event['id'] as string,
      id: String(position),
      bodySha: sha256(Buffer.from(JSON.stringify(event['data']))),
      resultShas: [],
      pending: false,
    })),
  );
  const { readTo } = await subscriptionAt(third.url, 'kept').catch(() => ({ readTo: -1 }));
  const again = new Set<string>();
  if (readTo >= 0)
    for (;;) {
      const { leases } = await pullEvents(third.url, 'kept', { max: 1000, leaseSeconds: 3600 });
      for (const { event } of leases) again.add(event.id);
      if (leases.length === 0) break;
    }
  // What was out at the cut is still leased to whoever had it.
  const open = readTo < 0 ? [] : await heldNow(third.url);
  for (const id of open) again.add(id);
  assert.deepEqual(await third.end('SIGTERM'), { code: 0, signal: null });
  t.diagnostic(
    `${summary(published)}; ${acked.size} acknowledged, ${unknown.size} unknown; ${(rate / 1e6).toFixed(2)} MB/s`,
  );
  const beforeFault = ledger.lines.filter(({ t: at }) => at <= faultAt);
  return {
    published,
    cameBack: [...acked].filter((id) => again.has(id)),
    missing: kept
      .map(({ event }) => event['id'] as string)
      .filter((id) => !acked.has(id) && !unknown.has(id) && !again.has(id)),
    acked: acked.size,
    cursor: [cursor, readTo],
    void: rate > voidBytesPerSecond ? `${rate} bytes/s were written` : whyVoid(beforeFault, [faultAt]),
  };

  /** Ids of what is leased, by its positions. */
  async function heldNow(url: string): Promise<string[]> {
    const positions = new Set<number>();
    for (let cursorOf = ''; ;) {
      const answer = await get(`${url}/v1/subscriptions/kept/deliveries?limit=1000${cursorOf}`);
      assert.equal(answer.status, 200, answer.text);
      const { items, next } = answer.json<{ items: { position: number }[]; next: string | null }>();
      for (const { position } of items) positions.add(position);
      if (next === null) break;
      cursorOf = `&cursor=${next}`;
    }
    return kept.filter(({ position }) => positions.has(position)).map(({ event }) => event['id'] as string);
  }
}
