// A store with many results under business keys: each submitted, leased and settled by the engine's own calls, without HTTP around them.
import { createHash, randomBytes } from 'node:crypto';
import type { KeyRule, ServiceConfig } from '../../packages/server/src/config/config-shape.ts';
import { sharedBy } from '../../packages/server/src/core/shared-request.ts';
import type { Engine, RequestHead, Submission } from '../../packages/server/src/engine/engine.ts';
import { sqliteEngine } from '../../packages/server/src/engines/sqlite/engine.ts';
import { replyBody } from './payload.ts';

const batch = 500;
const longMs = 30 * 86_400_000;
export const keyDigits = 9;
export const keyOf = (number: number): string => String(number).padStart(keyDigits, '0');

const result = {
  status: 200,
  headers: ['content-type', 'application/json'],
  body: Buffer.from(replyBody, 'latin1'),
  hash: createHash('sha256').update(replyBody).digest('base64url'),
};
const cache = { noStore: false, noCache: false, maxAgeMs: null, onlyIfCached: false };
const rule: KeyRule = { from: 'query', name: 'customer' };

/** What `GET /v1/call/{service}?customer={key}` without further fields would submit. */
function submission(queue: number, service: string, key: string, now: number): Submission {
  const head: RequestHead = { method: 'GET', path: '', query: `customer=${key}`, headers: [] };
  const config = { name: service, key: [rule], keyMethods: ['GET'], forward: [] } as unknown as ServiceConfig;
  const shared = sharedBy({
    service: config,
    head,
    contentType: undefined,
    contentEncoding: undefined,
    body: Buffer.alloc(0),
    resultKey: null,
    cache,
  });
  return {
    queue,
    nonce: randomBytes(16).toString('hex'),
    durability: 'stored',
    head: JSON.stringify(head),
    body: Buffer.alloc(0),
    correlationId: null,
    labels: null,
    createdAt: now,
    runAt: now,
    rank: now,
    deadlineAt: now + longMs,
    startByAt: null,
    retentionMs: longMs,
    idempotency: null,
    ...shared,
  };
}

/** Writes `count` results with keys from 0, valid for a month. No server may be running on the folder. */
export async function writeStoredKeys({
  folder,
  count,
  service,
  onProgress,
}: {
  folder: string;
  count: number;
  service: string;
  onProgress: (stored: number) => void;
}): Promise<void> {
  const engine: Engine = sqliteEngine({ folder });
  const { nowMs: now } = await engine.open(Date.now());
  try {
    const queue = (await engine.queue('default', service)).id;
    for (let from = 0; from < count; from += batch) {
      const size = Math.min(batch, count - from);
      const outcomes = await engine.submit(
        Array.from({ length: size }, (_, i) => submission(queue, service, keyOf(from + i), now)),
        now,
      );
      for (const { kind } of outcomes) if (kind !== 'new') throw new Error(`a key was answered ${kind}`);
      const wanted = {
        service,
        namespace: null,
        kind: 'pull',
        worker: 'bench',
        maxBytes: 1e9,
        leaseMs: 60_000,
      } as const;
      const leases = await engine.lease({ ...wanted, max: size, wait: false }, now);
      const transition = { to: 'succeeded', result, keep: { freshMs: longMs, staleMs: 0 } } as const;
      const settled = await engine.settle(
        leases.map(({ seq, leaseNo }) => ({ seq, leaseNo, transition, backendStatus: 200 })),
        now,
      );
      if (settled.length !== size || settled.some(({ kind }) => kind !== 'recorded'))
        throw new Error(`${settled.length} of ${size} results were stored`);
      onProgress(from + size);
    }
  } finally {
    await engine.close();
  }
}
