// What the rows about publishing have in common: a server with subscriptions, one of which is read, and events that are published beside it.
import type { Bench } from './bench.ts';
import { firstMessage } from './children.ts';
import { requestOnce } from './http-connection.ts';
import type { Load, LoadJob } from './load.ts';
import { type LoadSample, per10k } from './load-figures.ts';
import type { CpuSource } from './process-stats.ts';
import { metric, startWaitless, type Waitless } from './waitless.ts';

export const callers = 64;
const inFlight = 4;
/** Of an event, its attributes included. */
const eventBytes = 300;
export const warmUpSeconds = 2;
const digits = 9;
export const manySubscriptions = 100;
const topic = '/v1/topics/orders.placed/events';

/** How events come: alone, or so many in a request. */
export const forms = [
  { name: `${callers} callers`, items: 1, least: 20_000 },
  { name: `batches of 100, ${inFlight} in flight`, items: 100, least: 100_000 },
  { name: `batches of 1000, ${inFlight} in flight`, items: 1000, least: 100_000 },
] as const;

const mark = '0'.repeat(digits);

function event(number: number): string {
  const start = `{"specversion":"1.0","id":"${mark}-${number}","source":"/bench","type":"order.placed","data":{"note":"`;
  const end = '"}}';
  let note = '';
  for (let x = number + 1; note.length < eventBytes - start.length - end.length;) {
    x = (x * 1103515245 + 12345) & 0x7fffffff;
    // Nothing in it looks like the place for the random digits.
    note += 'abcdefghijklmnop'[(x >> 16) & 15];
  }
  return start + note + end;
}

/** A request with so many events, whose ids are new each time it is sent. */
function publishing(port: number, items: number): Pick<LoadJob, 'request' | 'vary'> {
  const all = Array.from({ length: items }, (_, number) => event(number));
  const [type, body] =
    items === 1
      ? ['application/cloudevents+json', all[0]!]
      : ['application/cloudevents-batch+json', `[${all.join(',')}]`];
  const text = `POST ${topic} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const at = [...text.matchAll(new RegExp(mark, 'g'))].map(({ index }) => index);
  return { request: Buffer.from(text, 'latin1'), vary: { at, digits, below: 10 ** digits } };
}

async function subscribe({ port }: Waitless, name: string): Promise<void> {
  const body = '{"topic":"orders.*","target":{"pull":true}}';
  const request = `PUT /v1/subscriptions/${name} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const { status, body: answer } = await requestOnce(port, Buffer.from(request, 'latin1'));
  if (status !== 201) throw new Error(`the subscription was answered ${status} ${answer}`);
}

export interface Topic {
  server: Waitless;
  puller: { pid: number };
  stop(): Promise<void>;
}

/** A server with so many subscriptions, one of which has a consumer; the cursors of the others stand still. */
export async function startTopic(
  bench: Bench,
  { subscriptions, data }: { subscriptions: number; data?: string },
): Promise<Topic> {
  const server = await startWaitless(bench, { services: [], ...(data === undefined ? {} : { data }) });
  for (let i = 1; i <= subscriptions; i++) await subscribe(server, `bench-${i}`);
  const puller = bench.children.fork('./event-puller.ts', [String(server.port), 'bench-1', '2']);
  await firstMessage(puller, 'the puller');
  return {
    server,
    puller,
    async stop(): Promise<void> {
      await puller.stop();
      await server.stop();
      if (data === undefined) bench.removeFolder(server.data);
    },
  };
}

export interface PublishSample extends LoadSample {
  /** Acknowledged by the consumer in the same time. */
  deliveries: number;
  events: number;
  /** What the sources beside the server have used per 10,000 events. */
  othersPer10k: number[];
}

export async function publish(
  bench: Bench,
  load: Load,
  { on, items, seconds, others = [] }: { on: Topic; items: number; seconds: number; others?: readonly CpuSource[] },
): Promise<PublishSample> {
  const { server, puller } = on;
  const published = (): Promise<number> => metric(server, 'waitless_events_published_total', { durability: 'stored' });
  const acknowledged = (): Promise<number> => metric(server, 'waitless_event_outcomes_total', { outcome: 'acked' });
  const before = [await published(), await acknowledged()] as const;
  const { result, cpu } = await bench.measure([server.pid, load.pid, puller.pid, ...others], () =>
    load.run({
      port: server.port,
      connections: items === 1 ? callers : inFlight,
      ...publishing(server.port, items),
      expect: { status: 202 },
      seconds,
    }),
  );
  const stored = (await published()) - before[0];
  const count = result.operations * items;
  // Two requests may have drawn the same digits, and then the second is a repeat.
  if (stored < count * 0.99) throw new Error(`${count} events were published and ${stored} were stored`);
  return {
    perSecond: result.perSecond * items,
    cpuPer10k: per10k(cpu[0]!, count),
    p50: result.p50,
    p99: result.p99,
    deliveries: ((await acknowledged()) - before[1]) / seconds,
    events: count,
    othersPer10k: cpu.slice(3).map((used) => per10k(used, count)),
  };
}
