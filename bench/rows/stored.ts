// What a stored result costs: against servers that answer a GET from memory, in syncs, with a million keys, and when a hundred ask at once.
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench, Row } from '../support/bench.ts';
import { firstMessage } from '../support/children.ts';
import type { Figure } from '../support/figures.ts';
import { requestOnce } from '../support/http-connection.ts';
import { type Load, startLoad } from '../support/load.ts';
import { loadFigures, type LoadSample, loadSample } from '../support/load-figures.ts';
import { getBytes, replyBody } from '../support/payload.ts';
import { ratioFigure } from '../support/ratio.ts';
import { keyDigits, keyOf, writeStoredKeys } from '../support/stored-keys.ts';
import { countSyncs, straceMissing } from '../support/strace.ts';
import { metric, startWaitless, type Waitless } from '../support/waitless.ts';

const row = 'stored';
const callers = 64;
const crowd = 100;
const rounds = 40;
/** Far more than are at hand in memory, so that both stores are asked for nearly all of them. */
const few = 100_000;
const warmUpSeconds = 2;
const tracedHits = 2000;
const service = 'score';
const path = (key: string): string => `/v1/call/${service}?customer=${key}`;
const lookUpPath = (key: string): string => `/v1/services/${service}/results?key=${key}`;
const expected = { status: 200, body: replyBody };

/** A server whose backend answers with the usual bytes, after so long. */
async function startKeyed(
  bench: Bench,
  { delayMs = 0, ...options }: { delayMs?: number; data?: string; tracing?: { countTo: string } } = {},
): Promise<Waitless> {
  const backend = bench.children.fork('./backend.ts', [String(delayMs)]);
  const port = await firstMessage<number>(backend, 'the backend');
  const services = ['--target', `${service}=http://127.0.0.1:${port}`, '--key', `${service}=query:customer`];
  return startWaitless(bench, { services: [...services, '--valid-for', `${service}=24h`], ...options });
}

async function computeOnce(server: Waitless, key: string): Promise<void> {
  const request = getBytes(server.port, path(key))
    .toString('latin1')
    .replace('\r\n\r\n', '\r\nPrefer: wait=20\r\n\r\n');
  const { status, body } = await requestOnce(server.port, Buffer.from(request, 'latin1'));
  if (status !== 200 || body !== replyBody) throw new Error(`the first result is ${status} ${body}`);
}

async function hits(bench: Bench, load: Load): Promise<Figure[]> {
  const waitless = await startKeyed(bench);
  await computeOnce(waitless, keyOf(1));
  const bare = async (kind: 'fastify' | 'node:http') => {
    const child = bench.children.fork('./bare-server.ts', [kind]);
    return {
      name: `${kind}, a constant`,
      pid: child.pid,
      port: await firstMessage<number>(child, kind),
      path: '/results',
    };
  };
  const contenders = [
    { name: 'waitless', pid: waitless.pid, port: waitless.port, path: path(keyOf(1)) },
    await bare('fastify'),
    await bare('node:http'),
  ];
  const run = (c: (typeof contenders)[number], seconds: number) =>
    load.run({ port: c.port, connections: callers, request: getBytes(c.port, c.path), expect: expected, seconds });
  bench.step('stored: warming up');
  for (const c of contenders) await run(c, warmUpSeconds);
  const samples = await bench.repeat('stored: hits, Fastify and node:http in turn', async () => {
    const of: LoadSample[] = [];
    for (const c of contenders) {
      const { result, cpu } = await bench.measure([c.pid, load.pid], () => run(c, bench.options.seconds));
      of.push(loadSample(result, cpu[0]!));
    }
    return of;
  });
  await waitless.stop();
  bench.removeFolder(waitless.data);
  const name = `hits, ${callers} callers`;
  const against = (what: string, key: keyof LoadSample, target?: NonNullable<Figure['target']>): Figure =>
    ratioFigure({
      row,
      case: name,
      what,
      of: samples.map(([own]) => own![key]),
      to: samples.map(([, fastify]) => fastify![key]),
      ...(target ? { target } : {}),
    });
  return [
    against('rate, waitless / fastify GET', 'perSecond', { atLeast: 0.9 }),
    against('server CPU, waitless / fastify GET', 'cpuPer10k'),
    ...contenders.flatMap((c, i) =>
      loadFigures({ row, name: `${name}, ${c.name}`, samples: samples.map((of) => of[i]!) }),
    ),
  ];
}

async function syncs(bench: Bench, load: Load): Promise<Figure> {
  const figure = { row, case: 'syncs', what: 'syncs per hit', unit: '', target: { atMost: 0 } };
  const skipped = await straceMissing();
  if (skipped) return { ...figure, values: [], skipped };
  const trace = bench.newFile('syncs');
  const server = await startKeyed(bench, { tracing: { countTo: trace } });
  await computeOnce(server, keyOf(1));
  // What follows the end of an operation is over, the counters of the store among it.
  await pause(3000);
  const fromMs = Date.now();
  const request = getBytes(server.port, path(keyOf(1)));
  await load.run({ port: server.port, connections: callers, request, expect: expected, count: tracedHits });
  const toMs = Date.now();
  await server.stop();
  bench.removeFolder(server.data);
  return { ...figure, values: [countSyncs(trace, { fromMs, toMs }) / tracedHits], note: `${tracedHits} hits` };
}

/** Random keys out of few and of many, so that next to none of them is at hand in memory. */
async function manyKeys(bench: Bench, load: Load): Promise<Figure[]> {
  const sizes = [few, bench.options.operations];
  const servers: Waitless[] = [];
  for (const count of sizes) {
    const data = bench.newFolder();
    await writeStoredKeys({
      folder: data,
      count,
      service,
      onProgress: (stored) =>
        bench.step(`stored: ${stored.toLocaleString('en-US')} of ${count.toLocaleString('en-US')} keys`),
    });
    servers.push(await startKeyed(bench, { data }));
  }
  const figures: Figure[] = [];
  for (const [what, pathOf] of [
    ['submits', path],
    ['look-ups', lookUpPath],
  ] as const) {
    const run = (i: number, seconds: number) => {
      const { port } = servers[i]!;
      const request = getBytes(port, pathOf(keyOf(0)));
      const at = request.indexOf(keyOf(0));
      return load.run({
        port,
        connections: callers,
        request,
        vary: { at, digits: keyDigits, below: sizes[i]! },
        expect: expected,
        seconds,
      });
    };
    for (const i of [0, 1]) await run(i, warmUpSeconds);
    const samples = await bench.repeat(`stored: ${what} of random keys, both stores in turn`, async () => {
      const of: LoadSample[] = [];
      for (const [i, server] of servers.entries()) {
        const { result, cpu } = await bench.measure([server.pid, load.pid], () => run(i, bench.options.seconds));
        of.push(loadSample(result, cpu[0]!));
      }
      return of;
    });
    const name = `${what} of random keys`;
    figures.push(
      ratioFigure({
        row,
        case: name,
        what: `server CPU, ${sizes[1]!.toLocaleString('en-US')} keys / ${few.toLocaleString('en-US')}`,
        of: samples.map(([, many]) => many!.cpuPer10k),
        to: samples.map(([first]) => first!.cpuPer10k),
        target: { atMost: 1.1 },
      }),
      ...sizes.flatMap((count, i) =>
        loadFigures({
          row,
          name: `${name}, ${count.toLocaleString('en-US')} keys`,
          samples: samples.map((of) => of[i]!),
        }),
      ),
    );
  }
  for (const server of servers) {
    await server.stop();
    bench.removeFolder(server.data);
  }
  return figures;
}

/** A hundred who ask for the same at once, once computed for them and once stored before. */
async function crowds(bench: Bench, load: Load): Promise<Figure[]> {
  const server = await startKeyed(bench, { delayMs: 50 });
  let key = 1;
  const ask = async (of: string): Promise<void> => {
    const request = getBytes(server.port, path(of))
      .toString('latin1')
      .replace('\r\n\r\n', '\r\nPrefer: wait=20\r\n\r\n');
    await load.run({
      port: server.port,
      connections: crowd,
      request: Buffer.from(request, 'latin1'),
      expect: expected,
      count: crowd,
    });
  };
  const joined = async (): Promise<void> => {
    for (let i = 0; i < rounds; i++) await ask(keyOf(++key));
  };
  const stored = async (): Promise<void> => {
    for (let i = 0; i < rounds; i++) await ask(keyOf(1));
  };
  await computeOnce(server, keyOf(1));
  bench.step('stored: warming up');
  await joined();
  await stored();
  const dispatched: number[] = [];
  const samples = await bench.repeat(`stored: ${crowd} callers at once, joined and stored in turn`, async () => {
    const before = await metric(server, 'waitless_attempts_total');
    const first = await bench.measure([server.pid, load.pid], joined);
    dispatched.push(((await metric(server, 'waitless_attempts_total')) - before) / rounds);
    const second = await bench.measure([server.pid, load.pid], stored);
    return [first.cpu[0]!, second.cpu[0]!];
  });
  await server.stop();
  bench.removeFolder(server.data);
  const name = `${crowd} callers of one key at once`;
  return [
    { row, case: name, what: 'dispatches', unit: '', values: dispatched, target: { atMost: 1 } },
    ratioFigure({
      row,
      case: name,
      what: 'server CPU, joined / stored',
      of: samples.map(([first]) => first!),
      to: samples.map(([, second]) => second!),
      target: { atMost: 1.2 },
    }),
    {
      row,
      case: name,
      what: 'server CPU, joined',
      unit: 'ms',
      values: samples.map(([first]) => (first! * 1000) / rounds),
    },
    {
      row,
      case: name,
      what: 'server CPU, stored',
      unit: 'ms',
      values: samples.map(([, second]) => (second! * 1000) / rounds),
    },
  ];
}

export const storedRow: Row = {
  name: row,
  about: 'stored results against a bare GET, their syncs, 1,000,000 keys against 100,000, a hundred callers at once',
  async run(bench) {
    const load = await startLoad(bench.children);
    const figures: Figure[] = [];
    if (bench.wants('hits')) figures.push(...(await hits(bench, load)));
    if (bench.wants('syncs')) figures.push(await syncs(bench, load));
    if (bench.wants('keys')) figures.push(...(await manyKeys(bench, load)));
    if (bench.wants('callers of one key at once')) figures.push(...(await crowds(bench, load)));
    await load.stop();
    return figures;
  },
};
