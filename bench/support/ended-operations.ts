// A PostgreSQL store with many ended operations: each submitted, leased and settled by the engine's own statements, without HTTP and its processor time around them.
import { createHash, randomBytes } from 'node:crypto';
import type { Engine, LeasedOperation, Submission } from '../../packages/server/src/engine/engine.ts';
import { postgresEngine } from '../../packages/server/src/engines/postgres/engine.ts';
import { replyBody, requestBody } from './payload.ts';

/** Calls under way at once, and operations in each. */
const lanes = 4;
const batch = 500;
const longMs = 30 * 86_400_000;

const head = JSON.stringify({
  method: 'POST',
  path: '/score',
  query: '',
  headers: [['content-type', 'application/json']],
});
const body = Buffer.from(requestBody, 'latin1');
const result = {
  status: 200,
  headers: ['content-type', 'application/json'],
  body: Buffer.from(replyBody, 'latin1'),
  hash: createHash('sha256').update(replyBody).digest('base64url'),
};

function submission(queue: number, now: number): Submission {
  return {
    queue,
    nonce: randomBytes(16).toString('hex'),
    durability: 'stored',
    head,
    body,
    correlationId: null,
    labels: null,
    createdAt: now,
    runAt: now,
    rank: now,
    deadlineAt: now + longMs,
    startByAt: null,
    retentionMs: longMs,
    idempotency: null,
    key: null,
    sharing: null,
  };
}

export interface EndedOperations {
  /** Of the store. */
  url: string;
  count: number;
  service: string;
  onProgress?: (ended: number) => void;
}

/** Writes `count` operations that succeeded just now and stay for a month. The store is made if it is new; no node may be running on it. */
export async function writeEndedOperations({ url, count, service, onProgress }: EndedOperations): Promise<void> {
  const engine: Engine = postgresEngine({ url });
  const startedAt = performance.now();
  const { nowMs } = await engine.open(Date.now());
  const now = (): number => Math.floor(nowMs + performance.now() - startedAt);
  try {
    const queue = await engine.queue('default', service);
    let left = count;
    let ended = 0;
    const lane = async (): Promise<void> => {
      while (left > 0) {
        const size = Math.min(batch, left);
        left -= size;
        const outcomes = await engine.submit(
          Array.from({ length: size }, () => submission(queue.id, now())),
          now(),
        );
        for (const outcome of outcomes) if (outcome.kind !== 'new') throw new Error(`not submitted: ${outcome.kind}`);
        ended += await endSome(engine, service, now, size);
        onProgress?.(ended);
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    const counts = (await engine.counts()).find((each) => each.queue.id === queue.id)?.counts;
    if (counts?.succeeded !== count) throw new Error(`${counts?.succeeded} operations have ended instead of ${count}`);
  } finally {
    await engine.close();
  }
}

/** Ends `wanted` operations of the queue, whichever are ready; as many as that are ready, since every lane ends what it has submitted. */
async function endSome(engine: Engine, service: string, now: () => number, wanted: number): Promise<number> {
  for (let missing = wanted; missing > 0;) {
    const leases: LeasedOperation[] = await engine.lease(
      {
        service,
        namespace: null,
        kind: 'pull',
        worker: 'bench',
        max: missing,
        maxBytes: Number.MAX_SAFE_INTEGER,
        leaseMs: 60_000,
        wait: false,
      },
      now(),
    );
    const settled = await engine.settle(
      leases.map(({ seq, leaseNo }) => ({
        seq,
        leaseNo,
        transition: { to: 'succeeded' as const, result },
        backendStatus: 200,
      })),
      now(),
    );
    for (const outcome of settled) if (outcome.kind !== 'recorded') throw new Error(`not settled: ${outcome.kind}`);
    missing -= leases.length;
  }
  return wanted;
}
