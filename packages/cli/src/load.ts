// A steady load of submits for `waitless bench`: so many requests in flight, for so long, each timed.
import { Agent, request as httpRequest } from 'node:http';
import { Agent as TlsAgent, request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';

export interface LoadSettings {
  /** Where every request goes. */
  url: string;
  headers: Readonly<Record<string, string>>;
  body: Uint8Array;
  inFlight: number;
  /** Ends the load; what is in flight is waited for. */
  until: AbortSignal;
}

export interface Load {
  /** 202: durable at the level that was asked for. */
  accepted: number;
  /** Any other 2xx: a result from the store. */
  answered: number;
  /** What went wrong, by status or reason. */
  errors: Map<string, number>;
  /** Milliseconds from sending to the whole answer, of those that were accepted or answered. */
  latencies: number[];
}

/** After a lost connection; without it a server that is gone would be asked thousands of times a second. */
const pauseMs = 50;

export const newLoad = (): Load => ({ accepted: 0, answered: 0, errors: new Map(), latencies: [] });

/** Adds to `load` while it runs, so that it can be watched. */
export async function runLoad({ url, headers, body, inFlight, until }: LoadSettings, load: Load): Promise<void> {
  const tls = url.startsWith('https:');
  const agent = new (tls ? TlsAgent : Agent)({ keepAlive: true, maxSockets: inFlight, maxFreeSockets: inFlight });
  const send = tls ? httpsRequest : httpRequest;
  const one = (): Promise<string | undefined> =>
    new Promise((resolve) => {
      const begun = performance.now();
      const request = send(
        url,
        { method: 'POST', agent, headers: { ...headers, 'Content-Length': String(body.length) } },
        (response) => {
          response.resume();
          response.once('end', () => {
            const status = response.statusCode ?? 0;
            if (status < 200 || status > 299) return resolve(String(status));
            load.latencies.push(performance.now() - begun);
            if (status === 202) load.accepted++;
            else load.answered++;
            resolve(undefined);
          });
          response.once('error', (error) => resolve(reasonOf(error)));
        },
      );
      request.once('error', (error) => resolve(reasonOf(error)));
      request.end(body);
    });
  const lane = async (): Promise<void> => {
    while (!until.aborted) {
      const wrong = await one();
      if (wrong === undefined) continue;
      load.errors.set(wrong, (load.errors.get(wrong) ?? 0) + 1);
      // Refusals are answered at once too; a server that says "later" is not helped by being asked faster.
      await sleep(pauseMs, undefined, { signal: until }).catch(() => undefined);
    }
  };
  try {
    await Promise.all(Array.from({ length: inFlight }, lane));
  } finally {
    agent.destroy();
  }
}

const reasonOf = (error: Error): string => (error as NodeJS.ErrnoException).code ?? error.message;

/** The value below which such a part of the sorted values lies. */
export const quantile = (sorted: readonly number[], part: number): number | undefined =>
  sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)];
