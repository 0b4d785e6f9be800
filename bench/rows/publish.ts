// Events: how many are published durably with one consumer beside, alone and in batches, what more subscriptions cost, and what it saves to promise nothing.
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench, Row } from '../support/bench.ts';
import type { Figure } from '../support/figures.ts';
import { type Load, startLoad } from '../support/load.ts';
import { loadFigures, type LoadSample, per10k } from '../support/load-figures.ts';
import { postBytes } from '../support/payload.ts';
import { callers, forms, manySubscriptions, publish, startTopic, warmUpSeconds } from '../support/publishing.ts';
import { ratioFigure } from '../support/ratio.ts';
import { metric, startWaitless, startWorker } from '../support/waitless.ts';

const row = 'publish';
/** Fewer than the queue of what is promised nothing holds. */
const burst = 8000;
/** Between two looks at how many of them a worker has. */
const leasedEveryMs = 20;

async function rates(bench: Bench, load: Load): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const { name, items, least } of forms.filter((form) => bench.wants(form.name))) {
    const on = await startTopic(bench, { subscriptions: 1 });
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
  const one = await startTopic(bench, { subscriptions: 1 });
  const many = await startTopic(bench, { subscriptions: manySubscriptions });
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
