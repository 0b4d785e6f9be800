// A store with many events that a subscription has not read: written by the engine's own calls, without HTTP around them.
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { requestBody } from './payload.ts';

const batch = 1000;
const body = Buffer.from(requestBody, 'latin1');

/** Writes `count` events of one topic, and before them a subscription that begins with the first. No server may be running on the store. */
export async function writeStoredEvents({
  engine,
  count,
  topic,
  subscription: name,
  onProgress,
}: {
  /** Not opened yet. */
  engine: Engine;
  count: number;
  topic: string;
  subscription: string;
  onProgress: (stored: number) => void;
}): Promise<void> {
  const { nowMs: now } = await engine.open(Date.now());
  try {
    const document = { topic, target: { pull: true }, from: 'start' };
    await engine.saveSubscription(
      { namespace: 'default', name, text: JSON.stringify({ document }), topics: [topic], savedAt: now },
      'start',
    );
    for (let from = 0; from < count; from += batch) {
      const outcomes = await engine.append(
        Array.from({ length: Math.min(batch, count - from) }, (_, i) => ({
          namespace: 'default',
          topic,
          head: `{"specversion":"1.0","id":"stored-${from + i}","source":"/bench","type":"stored","datacontenttype":"application/json"}`,
          body,
          durability: 'stored' as const,
          orderingKey: null,
          identity: null,
          knownUntil: 0,
        })),
        now,
      );
      for (const { kind } of outcomes) if (kind !== 'appended') throw new Error(`an event was ${kind}`);
      onProgress(Math.min(count, from + batch));
    }
  } finally {
    await engine.close();
  }
}
