// What a kill -9 takes of events that were answered before they were on disk: how many, and how old the oldest of them was.
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench, Row } from '../support/bench.ts';
import type { Figure } from '../support/figures.ts';
import { HttpConnection, requestOnce } from '../support/http-connection.ts';
import { getBytes } from '../support/payload.ts';
import { startWaitless } from '../support/waitless.ts';

const row = 'loss';
const levels = ['stored', 'memory', 'none'] as const;
const callers = 16;
const topic = '/v1/topics/facts/events';

type Level = (typeof levels)[number];

function request(port: number, level: Level, id: number): Buffer {
  const body = `{"specversion":"1.0","id":"${id}","source":"/bench","type":"fact"}`;
  return Buffer.from(
    `POST ${topic} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/cloudevents+json\r\nOperation-Durability: ${level}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    'latin1',
  );
}

/** Publishes until the server is killed in the midst of it; when each event was answered, by its number. */
async function publishUntilKilled(
  { port, kill }: { port: number; kill: () => Promise<void> },
  { level, seconds }: { level: Level; seconds: number },
): Promise<{ answeredAt: Map<number, number>; killedAt: number }> {
  const answeredAt = new Map<number, number>();
  let killedAt = Number.POSITIVE_INFINITY;
  let failure: Error | undefined;
  let next = 0;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      let id = next++;
      const connection = await HttpConnection.open({
        port,
        onBroken(error) {
          if (killedAt === Number.POSITIVE_INFINITY) failure ??= error;
        },
        onAnswer({ status, body }) {
          if (status !== 202) failure ??= new Error(`${status} ${body.toString('utf8', 0, 300)}`);
          answeredAt.set(id, performance.now());
          id = next++;
          connection.send(request(port, level, id));
        },
      });
      connection.send(request(port, level, id));
    }),
  );
  await pause(seconds * 1000);
  killedAt = performance.now();
  await kill();
  if (failure) throw failure;
  return { answeredAt, killedAt };
}

async function keptOf(port: number): Promise<Set<number>> {
  const kept = new Set<number>();
  for (let after = ''; ;) {
    const { status, body } = await requestOnce(port, getBytes(port, `${topic}?limit=1000${after}`));
    if (status !== 200) throw new Error(`a page of events was answered ${status} ${body.slice(0, 300)}`);
    const { items, next } = JSON.parse(body) as { items: { event: { id: string } }[]; next: string | null };
    for (const { event } of items) kept.add(Number(event.id));
    if (next === null) return kept;
    after = `&after=${next}`;
  }
}

interface Loss {
  answered: number;
  lost: number;
  oldestMs: number;
}

async function lossOf(bench: Bench, level: Level): Promise<Loss> {
  const server = await startWaitless(bench, { services: [] });
  const { answeredAt, killedAt } = await publishUntilKilled(
    { port: server.port, kill: () => server.stop('SIGKILL') },
    { level, seconds: bench.options.seconds },
  );
  const again = await startWaitless(bench, { services: [], data: server.data });
  const kept = await keptOf(again.port);
  await again.stop();
  bench.removeFolder(server.data);
  const lost = [...answeredAt].filter(([id]) => !kept.has(id));
  return {
    answered: answeredAt.size,
    lost: lost.length,
    oldestMs: lost.reduce((oldest, [, at]) => Math.max(oldest, killedAt - at), 0),
  };
}

export const lossRow: Row = {
  name: row,
  about: `events that were answered and are gone after a kill -9 with ${callers} publishers, by durability`,
  async run(bench) {
    const figures: Figure[] = [];
    for (const level of levels) {
      if (!bench.wants(level)) continue;
      const rounds = await bench.repeat(`loss: ${level}`, () => lossOf(bench, level));
      const of = (what: string, unit: string, key: keyof Loss): Figure => ({
        row,
        case: level,
        what,
        unit,
        values: rounds.map((round) => round[key]),
        ...(key === 'lost' && level === 'stored' ? { target: { atMost: 0 } } : {}),
      });
      figures.push(
        of('answered', '', 'answered'),
        of('of them gone', '', 'lost'),
        of('oldest of those, before the kill', 'ms', 'oldestMs'),
      );
    }
    return figures;
  },
};
