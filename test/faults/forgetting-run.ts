// What a kill costs those who asked for less than `stored`: acknowledged events of each durability, a kill in the midst of them, and what is left.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { freePort } from '../support/free-port.ts';
import { post } from '../support/http.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { allEvents, cloudEvent, eventsUrl, structured } from '../support/topics.ts';
import { randomOf } from './kill-run.ts';

export type Level = 'stored' | 'memory' | 'none';

export interface Forgetting {
  level: Level;
  /** How the server is ended, each time in the midst of publishes or, for SIGTERM, after them. */
  end: 'SIGKILL' | 'SIGTERM';
  rounds: number;
  /** Events acknowledged before each end, at least. */
  each: number;
  publishers: number;
  seed: number;
}

export interface Forgotten {
  acknowledged: number;
  lost: number;
  /** Most in one round. */
  mostLost: number;
  /** From the acknowledgement of the oldest one that is lost to the kill. */
  windowMs: number;
  /** Lost, though one that the same publisher published later is there. */
  outOfTurn: string[];
}

export async function forgetting(
  t: TestContext,
  { level, end, rounds, each, publishers, seed }: Forgetting,
): Promise<Forgotten> {
  const random = randomOf(seed);
  const settings = {
    data: join(await temporaryFolder(t), 'data'),
    own: true,
    nodes: 1 as const,
    port: await freePort(),
  };
  let server = await spawnServer(t, settings);
  const acknowledgedAt = new Map<string, number>();
  const sum: Forgotten = { acknowledged: 0, lost: 0, mostLost: 0, windowMs: 0, outOfTurn: [] };
  for (let round = 0; round < rounds; round++) {
    const agent = new Agent({ keepAlive: true, maxSockets: publishers });
    const count = each + Math.floor(random() * each);
    const own: string[][] = Array.from({ length: publishers }, () => []);
    let published = 0;
    let endedAt = Number.POSITIVE_INFINITY;
    const isOver = (): boolean => endedAt !== Number.POSITIVE_INFINITY || (end === 'SIGTERM' && published >= count);
    await Promise.all(
      own.map(async (ids, p) => {
        for (let n = 0; !isOver(); n++) {
          const id = `${round}-${p}-${n}`;
          const answer = await post(eventsUrl(server.url, 'small.talk'), {
            body: cloudEvent(id),
            headers: { ...structured, 'Operation-Durability': level },
            agent,
          }).catch(() => undefined);
          if (answer?.status !== 202) continue;
          ids.push(id);
          acknowledgedAt.set(id, performance.now());
          if (++published >= count && end === 'SIGKILL' && endedAt === Number.POSITIVE_INFINITY) {
            endedAt = performance.now();
            void server.end('SIGKILL');
          }
        }
      }),
    );
    agent.destroy();
    if (end === 'SIGTERM') assert.equal((await server.end('SIGTERM')).code, 0);
    await server.exited;
    server = await spawnServer(t, settings);
    const kept = new Set((await allEvents(server.url, 'small.talk')).map(({ event }) => event['id'] as string));
    let lost = 0;
    for (const ids of own) {
      sum.acknowledged += ids.length;
      for (const [at, id] of ids.entries()) {
        if (kept.has(id)) continue;
        lost++;
        sum.windowMs = Math.max(sum.windowMs, endedAt - acknowledgedAt.get(id)!);
        if (ids.slice(at + 1).some((later) => kept.has(later))) sum.outOfTurn.push(id);
      }
    }
    sum.lost += lost;
    sum.mostLost = Math.max(sum.mostLost, lost);
  }
  t.diagnostic(
    `${level}, ${end}: ${sum.lost} of ${sum.acknowledged} lost in ${rounds} rounds, ${sum.mostLost} at most in one, acknowledged ${sum.windowMs.toFixed(1)} ms before at most`,
  );
  return sum;
}
