// Events: how many are published durably with one consumer beside, alone and in batches, what more subscriptions cost, and what it saves to promise nothing.
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench, Row } from '../support/bench.ts';
import { firstMessage } from '../support/children.ts';
import type { Figure } from '../support/figures.ts';
import { requestOnce } from '../support/http-connection.ts';
import { type Load, type LoadJob, startLoad } from '../support/load.ts';
import { loadFigures, type LoadSample, per10k } from '../support/load-figures.ts';
import { postBytes } from '../support/payload.ts';
import { ratioFigure } from '../support/ratio.ts';
import { metric, startWaitless, startWorker, type Waitless } from '../support/waitless.ts';

const row = 'publish';
const callers = 64;
const inFlight = 4;
/** Of an event, its attributes included. */
const eventBytes = 300;
const warmUpSeconds = 2;
const digits = 9;
const manySubscriptions = 100;
const topic = '/v1/topics/orders.placed/events';
/** Fewer than the queue of what is promised nothing holds. */
const burst = 8000;
/** Between two looks at how many of them a worker has. */
const leasedEveryMs = 20;

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

/** A server with so many subscriptions, one of which has a consumer; the cursors of the others stand still. */
async function startTopic(bench: Bench, subscriptions: number) {
  const server = await startWaitless(bench, { services: [] });
  for (let i = 1; i <= subscriptions; i++) await subscribe(server, `bench-${i}`);
  const puller = bench.children.fork('./event-puller.ts', [String(server.port), 'bench-1', '2']);
  await firstMessage(puller, 'the puller');
  return {
    server,
    puller,
    async stop(): Promise<void> {
      await puller.stop();
      await server.stop();
      bench.removeFolder(server.data);
    },
  };
}

interface PublishSample extends LoadSample {
  /** Acknowledged by the consumer in the same time. */
  deliveries: number;
}

async function publish(
  bench: Bench,
  load: Load,
  { on, items, seconds }: { on: Awaited<ReturnType<typeof startTopic>>; items: number; seconds: number },
): Promise<PublishSample> {
  const { server, puller } = on;
  const published = (): Promise<number> => metric(server, 'waitless_events_published_total', { durability: 'stored' });
  const acknowledged = (): Promise<number> => metric(server, 'waitless_event_outcomes_total', { outcome: 'acked' });
  const before = [await published(), await acknowledged()] as const;
  const { result, cpu } = await bench.measure([server.pid, load.pid, puller.pid], () =>
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
  };
}

async function rates(bench: Bench, load: Load): Promise<Figure[]> {
  const forms = [
    { name: `${callers} callers`, items: 1, least: 20_000 },
    { name: `batches of 100, ${inFlight} in flight`, items: 100, least: 100_000 },
    { name: `batches of 1000, ${inFlight} in flight`, items: 1000, least: 100_000 },
  ].filter(({ name }) => bench.wants(name));
  const figures: Figure[] = [];
  for (const { name, items, least } of forms) {
    const on = await startTopic(bench, 1);
    bench.step(`publish: warming up, ${name}`);
    await publish(bench, load, { on, items, seconds: warmUpSeconds });
    const samples = await bench.repeat(`publish: ${name}`, () =>
      publish(bench, load, { on, items, seconds: bench.options.seconds }),
    );
    await on.stop();
    figures.push(...loadFigures({ row, name, samples, targets: { perSecond: { atLeast: least } } }), {
      row,
      case: name,
      what: 'acknowledged deliveries',
      unit: 'per s',
      values: samples.map(({ deliveries }) => deliveries),
    });
  }
  return figures;
}

async function subscriptions(bench: Bench, load: Load): Promise<Figure[]> {
  const name = `1 subscription and ${manySubscriptions}`;
  if (!bench.wants(name)) return [];
  const [one, many] = [await startTopic(bench, 1), await startTopic(bench, manySubscriptions)];
  bench.step(`publish: warming up, ${name}`);
  for (const on of [one, many]) await publish(bench, load, { on, items: 1, seconds: warmUpSeconds });
  const rounds = await bench.repeat(`publish: ${name} in turn`, async () => {
    const { seconds } = bench.options;
    return {
      one: await publish(bench, load, { on: one, items: 1, seconds }),
      many: await publish(bench, load, { on: many, items: 1, seconds }),
    };
  });
  await one.stop();
  await many.stop();
  return [
    ratioFigure({
      row,
      case: name,
      what: `rate, ${manySubscriptions} / 1`,
      of: rounds.map((round) => round.many.perSecond),
      to: rounds.map((round) => round.one.perSecond),
      target: { atLeast: 0.9 },
    }),
    ratioFigure({
      row,
      case: name,
      what: `server CPU, ${manySubscriptions} / 1`,
      of: rounds.map((round) => round.many.cpuPer10k),
      to: rounds.map((round) => round.one.cpuPer10k),
    }),
  ];
}

/** A submit that is forgotten against one that is kept, each carried by the same worker to its end. */
async function forgotten(bench: Bench, load: Load): Promise<Figure[]> {
  const name = 'submits of durability none and stored';
  if (!bench.wants(name)) return [];
  const server = await startWaitless(bench, { services: ['--pull', 'jobs'] });
  const worker = await startWorker(bench, { port: server.port, service: 'jobs' });
  const leased = (): Promise<number> => metric(server, 'waitless_leases_total');
  const submit = async (level: 'none' | 'stored'): Promise<LoadSample> => {
    const before = await leased();
    const { result, cpu } = await bench.measure([server.pid, load.pid, worker.pid], async () => {
      const run = await load.run({
        port: server.port,
        connections: callers,
        request: postBytes(server.port, '/v1/call/jobs', { 'Operation-Durability': level }),
        expect: { status: 202 },
        count: burst,
      });
      while ((await leased()) < before + burst) await pause(leasedEveryMs);
      return run;
    });
    return { perSecond: result.perSecond, cpuPer10k: per10k(cpu[0]!, burst), p50: result.p50, p99: result.p99 };
  };
  bench.step(`publish: warming up, ${name}`);
  for (const level of ['none', 'stored', 'none', 'stored'] as const) await submit(level);
  const rounds = await bench.repeat(`publish: ${name} in turn`, async () => ({
    none: await submit('none'),
    stored: await submit('stored'),
  }));
  await worker.stop();
  await server.stop();
  bench.removeFolder(server.data);
  const ratio = (what: string, key: keyof LoadSample, target: NonNullable<Figure['target']>): Figure =>
    ratioFigure({
      row,
      case: name,
      what,
      of: rounds.map(({ none }) => none[key]),
      to: rounds.map(({ stored }) => stored[key]),
      target,
    });
  return [
    ratio('server CPU, none / stored', 'cpuPer10k', { atMost: 0.6 }),
    ratio('rate, none / stored', 'perSecond', { atLeast: 1 }),
    ...loadFigures({ row, name: `${name}: none`, samples: rounds.map(({ none }) => none) }),
    ...loadFigures({ row, name: `${name}: stored`, samples: rounds.map(({ stored }) => stored) }),
  ];
}

export const publishRow: Row = {
  name: row,
  about: `events/s with ${callers} callers and in batches beside one consumer, 1 subscription against ${manySubscriptions}, durability none against stored`,
  async run(bench) {
    const load = await startLoad(bench.children);
    const figures = [
      ...(await rates(bench, load)),
      ...(await subscriptions(bench, load)),
      ...(await forgotten(bench, load)),
    ];
    await load.stop();
    return figures;
  },
};
