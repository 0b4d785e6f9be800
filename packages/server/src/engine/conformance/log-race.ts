// Writers and readers of one log at the same time, on one node or on several.
//
// Several writers take positions and commit in whatever order the store makes of it. A reader that goes on from the last position it saw
// must come past every position that was acknowledged: a smaller one that became visible late would be missing here.
import assert from 'node:assert/strict';
import type { LoggedEvent, NewEvent } from '../topics.ts';
import type { Fixture, Node } from './fixture.ts';

export const event = (more: Partial<NewEvent> = {}): NewEvent => ({
  namespace: 'default',
  topic: 'order.paid',
  head: '{"source":"shop"}',
  body: Buffer.from('fact'),
  durability: 'stored',
  orderingKey: null,
  identity: null,
  knownUntil: 0,
  ...more,
});

/** Appends and answers the positions. */
export async function append(node: Node, nowMs: number, ...events: Partial<NewEvent>[]): Promise<number[]> {
  const outcomes = await node.engine.append(events.map(event), nowMs);
  return outcomes.map((outcome) => {
    if (outcome.kind === 'refused') throw outcome.error;
    return outcome.position;
  });
}

const namespace = 'race';
const readOn = (node: Node, after: number, limit: number) =>
  node.engine.read({ namespace, topics: ['**'], after, limit, maxBytes: 1e6 });

/** Reads on from `after` until `ended` and nothing more comes. */
async function follow(node: Node, after: number, ended: () => boolean): Promise<LoggedEvent[]> {
  const seen: LoggedEvent[] = [];
  let last = after;
  for (;;) {
    // Asked before the read: what was acknowledged before the end must be in this page.
    const final = ended();
    const page = await readOn(node, after, 20);
    for (const one of page.events) {
      assert.ok(one.position > after, `position ${one.position} after ${after}`);
      after = one.position;
    }
    seen.push(...page.events);
    assert.ok(page.last >= Math.max(after, last), `the newest position is ${page.last} after ${Math.max(after, last)}`);
    last = page.last;
    if (final && page.events.length === 0) return seen;
  }
}

export async function raceOverLog(
  f: Fixture,
  nodes: readonly Node[],
  { writersPerNode, batches }: { writersPerNode: number; batches: number },
): Promise<void> {
  /** Acknowledged: position → what was written there. */
  const written = new Map<number, string>();
  let writing = true;

  async function write(node: Node, other: Node, name: string): Promise<void> {
    for (let i = 0; i < batches; i++) {
      const { last } = await readOn(other, Number.MAX_SAFE_INTEGER, 1);
      const texts = Array.from({ length: 1 + (i % 3) }, (_, k) => `${name}.${i}.${k}`);
      const positions = await append(
        node,
        f.clock.now(),
        ...texts.map((text) => ({ namespace, topic: name, body: Buffer.from(text) })),
      );
      // Whoever begins to follow at `last` misses nothing that is appended from then on.
      for (const [k, position] of positions.entries()) {
        assert.ok(position > (positions[k - 1] ?? last), `position ${position} after ${positions[k - 1] ?? last}`);
        assert.ok(!written.has(position), `position ${position} was given twice`);
        written.set(position, texts[k]!);
      }
      const back = await readOn(other, positions[0]! - 1, 1);
      assert.equal(back.events[0]?.position, positions[0], 'what is acknowledged is seen on every node');
    }
  }

  const atStart = nodes.map((node) => follow(node, 0, () => !writing));
  // Those who come later begin at the newest position they are told of.
  const late = nodes.map(async (node) => {
    for (;;) {
      const { last } = await readOn(node, Number.MAX_SAFE_INTEGER, 1);
      if (last > batches || !writing) return { from: last, seen: await follow(node, last, () => !writing) };
    }
  });
  const writers = nodes.flatMap((node, n) =>
    Array.from({ length: writersPerNode }, (_, w) => write(node, nodes[(n + 1) % nodes.length]!, `w${n}-${w}`)),
  );
  const wrote = Promise.all(writers).finally(() => (writing = false));
  const [seen, seenLate] = await Promise.all([Promise.all(atStart), Promise.all(late), wrote]);
  const expected = [...written].sort(([a], [b]) => a - b);
  const told = (events: LoggedEvent[]) => events.map((e) => [e.position, Buffer.from(e.body).toString()]);
  for (const events of seen) assert.deepEqual(told(events), expected);
  for (const { from, seen: events } of seenLate)
    assert.deepEqual(
      told(events),
      expected.filter(([position]) => position > from),
    );
}
