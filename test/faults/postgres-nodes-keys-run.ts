// Twins of idempotency keys over two nodes while one node after the other is killed: what the short and the long test share.
import { Agent } from 'node:http';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Operation } from '@waitless/protocol';
import { noise, sha256 } from '../support/fixtures.ts';
import { post, type Received } from '../support/http.ts';
import { Ledger, whyVoid } from '../support/ledger.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { outcomeOf } from '../support/submit-load.ts';
import { randomOf } from './kill-run.ts';
import { assertCountsAreRight, everyOperation, onlyTheLivingAreListed, twoProcesses } from './postgres-nodes.ts';

export interface KeysRun {
  keys: number;
  /** Requests with each key. */
  twins: number;
  callers: number;
  /** How many keys are also sent with another body. */
  altered: number;
  kills: number;
  seed: number;
  /** The positive control: two nodes with a store each, which cannot know of each other's keys. No kills. */
  apart?: boolean;
}

export interface KeysVerdict {
  /** In the lists of the nodes, after all. */
  records: number;
  /** Keys whose twins were told different ids, or one that is in no list. */
  wrong: string[];
  /** Keys with several records. */
  duplicated: string[];
  /** What the altered bodies got, by status. */
  altered: Record<string, number>;
  void: string | undefined;
}

const services = { jobs: { target: { pull: true } } };
const body = (key: number): Buffer => noise(600, key + 1);

export async function keysRun(t: TestContext, run: KeysRun): Promise<KeysVerdict> {
  const { keys, twins, callers, altered, kills, seed, apart = false } = run;
  t.diagnostic(`seed ${seed}`);
  const random = randomOf(seed);
  const pair = apart ? undefined : await twoProcesses(t, { services });
  const urls = pair?.urls ?? [await alone(t), await alone(t)];
  const ledger = new Ledger(join(await temporaryFolder(t), 'ledger'));
  const agent = new Agent({ keepAlive: true, maxSockets: callers });
  const told = new Map<string, Set<string>>();
  const alteredStatus: Record<string, number> = {};

  /** Each at a random place of its stretch of acknowledgements, in the midst of whatever is in flight there. */
  const stretch = (keys * twins) / (kills + 1);
  const killAt = Array.from({ length: kills }, (_, k) => Math.round(stretch * (k + 0.75 + random() * 0.5)));
  const faultTimes: number[] = [];
  let acknowledged = 0;
  let back: Promise<void> = Promise.resolve();
  let free: Promise<void> = back;
  /** One node at a time: whoever would cause the next kill before the last victim is back waits for it. */
  function kill(): void {
    const index = faultTimes.push(Date.now()) % 2;
    free = back;
    back = back.then(async () => {
      await pause(random() * 20);
      faultTimes[faultTimes.length - 1] = Date.now();
      await pair!.end(index, 'SIGKILL');
      await pair!.start(index);
    });
  }

  /** Sends until the answer is certain, each time to the other node. */
  async function certain(key: string, sent: { bytes: Buffer; note: boolean; from: number }): Promise<Received> {
    for (let turn = sent.from; ; turn++) {
      await free;
      const line = { op: 'submit', key, bodySha: sha256(sent.bytes) };
      try {
        const headers = { 'Idempotency-Key': key, 'Correlation-Id': key };
        const answer = await post(`${urls[turn % 2]}/v1/call/jobs`, { body: sent.bytes, headers, agent });
        const outcome = outcomeOf(answer.status, answer.text);
        if (sent.note) ledger.add({ ...line, outcome, detail: String(answer.status) });
        if (outcome !== 'info' && answer.status !== 503) return answer;
      } catch (error) {
        const code = String((error as NodeJS.ErrnoException).code);
        // Where no connection is made nothing was asked.
        if (sent.note && code !== 'ECONNREFUSED') ledger.add({ ...line, outcome: 'info', detail: code });
      }
      // A dead node refuses at once, and the processor is needed to start it.
      await pause(20);
    }
  }

  async function twin(key: number, number: number): Promise<void> {
    const name = `key-${key}`;
    const answer = await certain(name, { bytes: body(key), note: true, from: number });
    if (answer.status !== 202) throw new Error(`${name} was answered ${answer.status}: ${answer.text.slice(0, 300)}`);
    const ids = told.get(name) ?? new Set();
    told.set(name, ids.add(answer.headers['operation-id']!));
    if (++acknowledged >= (killAt[faultTimes.length] ?? Number.POSITIVE_INFINITY)) kill();
    if (number > 0 || key >= altered) return;
    const changed = body(key);
    changed[key % changed.length]! ^= 1;
    const { status } = await certain(name, { bytes: changed, note: false, from: number + 1 });
    alteredStatus[status] = (alteredStatus[status] ?? 0) + 1;
  }

  let next = 0;
  const call = async (): Promise<void> => {
    for (let at = next++; at < keys * twins; at = next++) await twin(Math.floor(at / twins), at % twins);
  };
  const begun = performance.now();
  await Promise.all(Array.from({ length: callers }, call));
  await back;
  agent.destroy();
  t.diagnostic(
    `${ledger.lines.length} requests and ${faultTimes.length} kills in ${Math.round(performance.now() - begun)} ms`,
  );

  const lists = await Promise.all(urls.map(everyOperation));
  // Nodes of one store list the same; each is looked at.
  const verdicts = apart ? [judge(told, lists.flat())] : lists.map((list) => judge(told, list));
  if (pair) {
    await assertCountsAreRight(urls);
    await onlyTheLivingAreListed(pair.store, 2);
  }
  return {
    records: Math.max(...verdicts.map(({ records }) => records)),
    wrong: verdicts.flatMap(({ wrong }) => wrong),
    duplicated: verdicts.flatMap(({ duplicated }) => duplicated),
    altered: alteredStatus,
    void: faultTimes.length < kills ? `only ${faultTimes.length} kills` : whyVoid(ledger.lines, faultTimes),
  };
}

async function alone(t: TestContext): Promise<string> {
  return (await spawnServer(t, { services, data: ':memory:', own: true, nodes: 1 })).url;
}

function judge(
  told: ReadonlyMap<string, ReadonlySet<string>>,
  list: readonly Operation[],
): Pick<KeysVerdict, 'records' | 'wrong' | 'duplicated'> {
  const held = new Map<string, string[]>();
  for (const { correlationId, id } of list) held.set(correlationId, [...(held.get(correlationId) ?? []), id]);
  const wrong = [...told].filter(([key, ids]) => ids.size !== 1 || !held.get(key)?.includes([...ids][0]!));
  const duplicated = [...held].filter(([, ids]) => ids.length > 1);
  return { records: list.length, wrong: wrong.map(([key]) => key), duplicated: duplicated.map(([key]) => key) };
}
