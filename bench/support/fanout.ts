// One publisher and many who are told: the same load for every outlet of ours and of others.
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from './bench.ts';
import { type Child, firstMessage } from './children.ts';
import { HttpConnection, requestOnce } from './http-connection.ts';
import { percentile } from './statistics.ts';
import type { Waitless } from './waitless.ts';

export type Outlet = 'sse' | 'ws';

/** 1 KB that ends with the byte that watchers count; it stands nowhere else in what they are sent. */
export const message = `{"note":"${'waitless '.repeat(112)}`.padEnd(1021, '.') + '`"}';
/** Messages that may be ahead of the slowest count: a publisher without end would measure the length of a queue. */
const window = 16;
const drainMs = 10_000;

export interface Watchers {
  pid: number;
  /** Marks counted so far. */
  readonly marks: number;
  /** Called whenever there are more. */
  onMarks: () => void;
  stop(): Promise<void>;
}

/** Watchers that are all connected. `stalled`: more of them, that never read. `say`: what each sends over its WebSocket once it is open. */
export async function startWatchers(
  bench: Bench,
  {
    outlet,
    port,
    path,
    count,
    stalled = 0,
    say = '',
  }: { outlet: Outlet; port: number; path: string; count: number; stalled?: number; say?: string },
): Promise<Watchers> {
  const args = [outlet, String(port), path, String(count), String(stalled), say];
  const child: Child = bench.children.fork('./fanout-watchers.ts', args);
  await firstMessage(child, 'the watchers');
  const watchers = { pid: child.pid, marks: 0, onMarks: () => {}, stop: () => child.stop() };
  child.process.on('message', (marks) => {
    watchers.marks = marks as number;
    watchers.onMarks();
  });
  return watchers;
}

export interface FanoutResult {
  deliveries: number;
  perSecond: number;
  /** From the publish to the last of its deliveries. */
  p50: number;
  p99: number;
}

export interface Publisher {
  /** Publishes for so long, with so many publishes outstanding, and waits until all of it was delivered. */
  run(watchers: Watchers, job: { count: number; outstanding: number; seconds: number }): Promise<FanoutResult>;
  close(): void;
}

/** `request` is a whole publish, answered with `status`. */
export async function startPublisher({
  port,
  request,
  status,
  most,
}: {
  port: number;
  request: Buffer;
  status: number;
  /** Publishes outstanding at once, at most. */
  most: number;
}): Promise<Publisher> {
  let answered: (error?: Error) => void = () => {};
  const connections = await Promise.all(
    Array.from({ length: most }, () =>
      HttpConnection.open({
        port,
        onBroken: (error) => answered(error),
        onAnswer: (answer) =>
          answer.status === status
            ? answered()
            : answered(new Error(`a publish was answered ${answer.status} ${answer.body.toString('utf8', 0, 300)}`)),
      }),
    ),
  );
  return {
    close: () => connections.forEach((connection) => connection.close()),
    async run(watchers, { count, outstanding, seconds }) {
      const before = watchers.marks;
      const started = performance.now();
      const end = started + seconds * 1000;
      const sentAt: number[] = [];
      const tookMs: number[] = [];
      let inHand = 0;
      let failure: Error | undefined;
      const over = Promise.withResolvers<void>();
      const idle = connections.slice(0, outstanding);
      const go = (): void => {
        const now = performance.now();
        for (const done = Math.floor((watchers.marks - before) / count); tookMs.length < done;)
          tookMs.push(now - sentAt[tookMs.length]!);
        if (failure || (now >= end && inHand === 0)) return over.resolve();
        while (now < end && inHand < outstanding && sentAt.length - tookMs.length < window) {
          sentAt.push(now);
          // Which connection an answer came on does not matter: each has one request under way.
          idle[sentAt.length % outstanding]!.send(request);
          inHand++;
        }
      };
      answered = (error) => {
        inHand--;
        failure ??= error;
        go();
      };
      watchers.onMarks = go;
      go();
      const atEnd = setTimeout(go, seconds * 1000 + 1);
      await over.promise;
      clearTimeout(atEnd);
      if (failure) throw failure;
      const tookSeconds = (performance.now() - started) / 1000;
      const perSecond = (watchers.marks - before) / tookSeconds;
      const wanted = sentAt.length * count;
      for (const until = performance.now() + drainMs; watchers.marks - before < wanted;) {
        if (performance.now() > until)
          throw new Error(`${wanted - (watchers.marks - before)} of ${wanted} deliveries never came`);
        await pause(5);
      }
      go();
      tookMs.sort((a, b) => a - b);
      return { deliveries: wanted, perSecond, p50: percentile(tookMs, 0.5), p99: percentile(tookMs, 0.99) };
    },
  };
}

export interface Watched {
  id: string;
  /** A whole request that reports progress, answered with 200. */
  publish: Buffer;
}

const post = (port: number, path: string, body: string): Buffer =>
  Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    'latin1',
  );

/** An operation of the service "jobs" that a worker has taken, and reports progress on. */
export async function watchedOperation({ port }: Pick<Waitless, 'port'>): Promise<Watched> {
  await requestOnce(port, post(port, '/v1/call/jobs', '{}'));
  const leased = await requestOnce(
    port,
    post(port, '/v1/services/jobs/leases', '{"waitSeconds":10,"leaseSeconds":3600}'),
  );
  const [lease] = (JSON.parse(leased.body) as { leases: { token: string; operation: { id: string } }[] }).leases;
  return {
    id: lease!.operation.id,
    publish: post(port, `/v1/leases/${lease!.token}/progress`, `{"data":${message}}`),
  };
}
