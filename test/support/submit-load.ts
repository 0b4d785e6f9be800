// Many callers that submit and write down what they were told, through kills and restarts of the server.
import { Agent } from 'node:http';
import { noise, sha256 } from './fixtures.ts';
import { post } from './http.ts';
import type { Ledger, Outcome } from './ledger.ts';

export interface SubmitLoadOptions {
  ledger: Ledger;
  service: string;
  callers: number;
  /** Submissions in all, repeats of unknown ones not counted. */
  count: number;
  /** Ends the load before that; what is on its way is still written down. */
  over?: AbortSignal;
  /** Bytes of the body of a submission. */
  bodyBytes?: (index: number) => number;
  /** Resolves with the server's URL when there is one that answers; asked before every submission. */
  server: () => Promise<string>;
  /** Whether a submission whose outcome is unknown is sent again under its key until it is known. */
  repeats?: (index: number) => boolean;
  /** Called after each line of the ledger: where a test kills, or slows the load down. */
  after?: (outcome: Outcome) => Promise<void> | void;
  /** Begins every key; runs of one ledger need different ones. */
  prefix?: string;
}

/** A kilobyte, as most requests are; now and then one that is kept in several pieces. */
const usualBytes = (index: number): number => (index % 100 === 99 ? 300_000 : 1024);

/** What an answer says for certain (guarantees: 2xx, definite refusals, everything else). */
export function outcomeOf(status: number, text: string): Outcome {
  if (status >= 200 && status < 300) return 'ok';
  if (status === 503) return text.includes('"accepted":false') ? 'fail' : 'info';
  return (status >= 400 && status < 500) || status === 507 ? 'fail' : 'info';
}

/** Resolves when every submission has been made. */
export async function submitLoad(options: SubmitLoadOptions): Promise<void> {
  const {
    ledger,
    service,
    callers,
    count,
    over,
    server,
    after,
    prefix = 'op',
    bodyBytes = usualBytes,
    repeats = () => false,
  } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: callers });
  let next = 0;

  async function submitOne(index: number): Promise<Outcome> {
    const key = `${prefix}-${index}`;
    const body = noise(bodyBytes(index), index + 1);
    const line = { op: 'submit', key, bodySha: sha256(body) };
    const base = await server();
    let outcome: Outcome;
    try {
      const headers = { 'Idempotency-Key': key, 'Correlation-Id': key, 'Content-Type': 'application/octet-stream' };
      const answer = await post(`${base}/v1/call/${service}`, { body, headers, agent });
      outcome = outcomeOf(answer.status, answer.text);
      const id = answer.headers['operation-id'];
      ledger.add({
        ...line,
        outcome,
        detail: String(answer.status),
        ...(outcome === 'ok' && id !== undefined ? { id } : {}),
      });
    } catch (error) {
      outcome = 'info';
      ledger.add({ ...line, outcome, detail: (error as NodeJS.ErrnoException).code ?? String(error) });
    }
    await after?.(outcome);
    return outcome;
  }

  async function call(): Promise<void> {
    for (let index = next++; index < count && !over?.aborted; index = next++) {
      let outcome = await submitOne(index);
      while (outcome === 'info' && repeats(index)) outcome = await submitOne(index);
    }
  }

  try {
    await Promise.all(Array.from({ length: callers }, call));
  } finally {
    agent.destroy();
  }
}
