// What a server holds after the faults: every operation in its lists, with the bytes that it gives back.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import type { Operation, Page, Settlement } from '@waitless/protocol';
import { sha256 } from './fixtures.ts';
import { get } from './http.ts';
import type { Seen } from './ledger.ts';
import { leaseCall, leasedBody } from './pull-worker.ts';

/** `sha` where there is no room for every body twice. */
type Answers = 'echo' | 'sha';

/** Of the request that a result tells of. */
const shaIn = (result: Buffer): string =>
  /^[0-9a-f]{64}$/.test(result.toString('latin1')) ? result.toString('latin1') : sha256(result);

async function everyOperation(base: string, agent: Agent): Promise<Operation[]> {
  const found: Operation[] = [];
  let query = '';
  do {
    const page = (await get(`${base}/v1/operations?limit=1000${query}`, { agent })).json<Page<Operation>>();
    found.push(...page.items);
    query = page.next === null ? '' : `&cursor=${encodeURIComponent(page.next)}`;
  } while (query !== '');
  return found;
}

/** Works off what is pending by answering with the request's own bytes or their SHA-256, so that every result shows what was kept. */
async function drain({
  base,
  service,
  agent,
  answers,
}: {
  base: string;
  service: string;
  agent: Agent;
  answers: Answers;
}): Promise<Map<string, string>> {
  const handedOut = new Map<string, string>();
  let settle: Settlement[] = [];
  let waitSeconds = 0;
  for (;;) {
    const wanted = { worker: 'observer', max: 40, settle, leaseSeconds: 60, waitSeconds, agent };
    const { leases, settled } = await leaseCall(base, service, wanted);
    assert.ok(
      settled.every(({ status }) => status === 200),
      JSON.stringify(settled),
    );
    settle = leases.map((lease) => {
      const body = leasedBody(lease);
      handedOut.set(lease.operation.id, sha256(body));
      return {
        token: lease.token,
        reply: answers === 'echo' ? { bodyBase64: body.toString('base64') } : { body: sha256(body) },
      };
    });
    if (leases.length > 0) continue;
    // What others hold comes back when their leases have run out.
    const { items } = (await get(`${base}/v1/operations?status=queued,running&limit=1`, { agent })).json<
      Page<Operation>
    >();
    if (items.length === 0) return handedOut;
    waitSeconds = 1;
  }
}

/**
 * Everything of a pull service whose results tell of their requests: works off the rest and lists it all. A result is fetched of
 * each operation that was not handed out just now, and of every `sampling`th of the others, whose bytes were seen at their worker.
 */
export async function observe(
  base: string,
  service: string,
  { sampling = 1, answers = 'echo' }: { sampling?: number; answers?: Answers } = {},
): Promise<Seen[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  try {
    const handedOut = await drain({ base, service, agent, answers });
    const operations = await everyOperation(base, agent);
    const seen: Seen[] = [];
    let next = 0;
    const look = async (): Promise<void> => {
      for (let at = next++; at < operations.length; at = next++) {
        const { id, correlationId, links } = operations[at]!;
        const handed = handedOut.get(id);
        const shas = handed === undefined ? [] : [handed];
        if (handed === undefined || at % sampling === 0) {
          const { status, body } = await get(links.result, { agent });
          shas.push(status === 200 ? shaIn(body) : `status ${status}`);
        }
        seen.push({ key: correlationId, id, bodySha: shas[0]!, resultShas: shas, pending: handed !== undefined });
      }
    };
    await Promise.all(Array.from({ length: 16 }, look));
    return seen;
  } finally {
    agent.destroy();
  }
}
