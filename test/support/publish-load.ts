// Many publishers that write down what they were told, through kills and restarts of the server; some of what they send must be refused.
import { Agent } from 'node:http';
import { sha256 } from './fixtures.ts';
import { post } from './http.ts';
import type { Ledger, Outcome } from './ledger.ts';
import { outcomeOf } from './submit-load.ts';
import { batched, eventsUrl, type Published } from './topics.ts';

export interface PublishLoadOptions {
  ledger: Ledger;
  publishers: number;
  /** Events in all, those that are refused too. */
  count: number;
  /** Ends the load before that. */
  over?: AbortSignal;
  /** Events of one request. */
  batch?: number;
  topicOf: (index: number) => string;
  /** A URL that answers; asked before every request. */
  server: () => Promise<string>;
  /** Called after each request with how many events it acknowledged. */
  after?: (acknowledged: number) => Promise<void> | void;
  headers?: Readonly<Record<string, string>>;
  prefix?: string;
  /** false: what is unknown is left so. By default every other request is published again under its ids until it is known. */
  repeated?: boolean;
}

/** Of each so many requests one must be refused, with all that is in it. */
const refusedOf = 40;

export const dataOf = (key: string): string => JSON.stringify({ key, filling: 'x'.repeat(key.length % 7) });

/** Resolves when every event has been published, refused, or left unknown. */
export async function publishLoad(options: PublishLoadOptions): Promise<void> {
  const {
    ledger,
    publishers,
    count,
    over,
    batch = 1,
    topicOf,
    server,
    after,
    headers = {},
    prefix = 'e',
    repeated = true,
  } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: publishers });
  const requests = Math.ceil(count / batch);
  let next = 0;

  async function once(request: number, isLast: boolean): Promise<Outcome> {
    const indices = Array.from({ length: Math.min(batch, count - request * batch) }, (_, at) => request * batch + at);
    const isWrong = request % refusedOf === refusedOf - 1;
    const keys = indices.map((index) => `${prefix}-${index}`);
    const events = keys.map(
      (id, at) =>
        // The last one alone is wrong, and all go with it.
        `{"specversion":"${isWrong && at === keys.length - 1 ? '0.3' : '1.0'}","id":"${id}","source":"/load","type":"load.happened","datacontenttype":"application/json","data":${dataOf(id)}}`,
    );
    let outcome: Outcome;
    let detail: string;
    let positions: number[] = [];
    try {
      const answer = await post(eventsUrl(await server(), topicOf(indices[0]!)), {
        body: `[${events.join(',')}]`,
        headers: { ...batched, ...headers },
        agent,
      });
      outcome = outcomeOf(answer.status, answer.text);
      detail = String(answer.status);
      if (outcome === 'ok' && answer.text !== '') positions = answer.json<Published>().positions;
    } catch (error) {
      outcome = 'info';
      detail = (error as NodeJS.ErrnoException).code ?? String(error);
    }
    for (const [at, key] of keys.entries()) {
      const position = positions[at];
      const id = position === undefined ? {} : { id: String(position) };
      // What is unknown and sent again has its last word to come.
      if (outcome !== 'info' || isLast)
        ledger.add({ op: 'publish', key, bodySha: sha256(Buffer.from(dataOf(key))), outcome, detail, ...id });
    }
    await after?.(outcome === 'ok' ? keys.length : 0);
    return outcome;
  }

  async function publisher(): Promise<void> {
    for (let request = next++; request < requests && !over?.aborted; request = next++) {
      const isRepeated = repeated && request % 2 === 0;
      while ((await once(request, !isRepeated)) === 'info' && isRepeated && !over?.aborted);
    }
  }

  try {
    await Promise.all(Array.from({ length: publishers }, publisher));
  } finally {
    agent.destroy();
  }
}
