// Durable accepts against servers that store nothing, and how many syncs an accept costs.
import type { Bench, Row } from '../support/bench.ts';
import { firstMessage } from '../support/children.ts';
import type { Figure } from '../support/figures.ts';
import { type Load, startLoad } from '../support/load.ts';
import { loadFigures, type LoadSample, loadSample } from '../support/load-figures.ts';
import { postBytes } from '../support/payload.ts';
import { ratioFigure } from '../support/ratio.ts';
import { countSyncs, straceMissing } from '../support/strace.ts';
import { startWaitless } from '../support/waitless.ts';

const row = 'accept';
const callers = 64;
const syncedAccepts = 2000;
/** Before the first run of a server: until then its code is not compiled. */
const warmUpSeconds = 2;

interface Contender {
  name: string;
  pid: number;
  port: number;
  path: string;
}

const contender = (name: string, server: { pid: number; port: number }, path: string): Contender => ({
  name,
  pid: server.pid,
  port: server.port,
  path,
});

async function bareServer(bench: Bench, kind: 'fastify' | 'node:http'): Promise<{ pid: number; port: number }> {
  const child = bench.children.fork('./bare-server.ts', [kind]);
  return { pid: child.pid, port: await firstMessage<number>(child, kind) };
}

async function accept(load: Load, at: { port: number; path: string }, amount: { seconds: number } | { count: number }) {
  return load.run({
    port: at.port,
    connections: callers,
    request: postBytes(at.port, at.path),
    expect: { status: 202 },
    ...amount,
  });
}

async function rates(bench: Bench, load: Load): Promise<Figure[]> {
  const waitless = await startWaitless(bench, { services: ['--pull', 'jobs'] });
  const contenders = [
    contender('waitless', waitless, '/v1/call/jobs/score'),
    contender('fastify, stores nothing', await bareServer(bench, 'fastify'), '/requests'),
    contender('node:http, stores nothing', await bareServer(bench, 'node:http'), '/requests'),
  ];
  bench.step('accept: warming up');
  for (const c of contenders) await accept(load, c, { seconds: warmUpSeconds });
  const rounds = await bench.repeat('accept: Waitless, Fastify and node:http in turn', async () => {
    const samples: LoadSample[] = [];
    for (const c of contenders) {
      const { result, cpu } = await bench.measure([c.pid, load.pid], () =>
        accept(load, c, { seconds: bench.options.seconds }),
      );
      samples.push(loadSample(result, cpu[0]!));
    }
    return samples;
  });
  await waitless.stop();
  bench.removeFolder(waitless.data);
  const name = `${callers} callers`;
  const against = (what: string, key: keyof LoadSample, target?: NonNullable<Figure['target']>): Figure =>
    ratioFigure({
      row,
      case: name,
      what,
      of: rounds.map(([waitless]) => waitless![key]),
      to: rounds.map(([, fastify]) => fastify![key]),
      ...(target ? { target } : {}),
    });
  return [
    against('rate, waitless / fastify', 'perSecond', { atLeast: 0.8 }),
    against('server CPU, waitless / fastify', 'cpuPer10k'),
    ...contenders.flatMap((c, i) =>
      loadFigures({
        row,
        name: `${name}, ${c.name}`,
        samples: rounds.map((samples) => samples[i]!),
        targets: i === 0 ? { cpuPer10k: { atMost: 0.35 } } : {},
      }),
    ),
  ];
}

async function syncs(bench: Bench, load: Load): Promise<Figure> {
  const figure: Figure = {
    row,
    case: 'syncs',
    what: 'syncs per accept',
    unit: '',
    values: [],
    target: { atMost: 1 / 16 },
    note: `${syncedAccepts} accepts, ${callers} in flight`,
  };
  const skipped = await straceMissing();
  if (skipped) return { ...figure, skipped };
  const values = await bench.repeat('accept: counting syncs', async () => {
    const trace = bench.newFile('syncs');
    const server = await startWaitless(bench, { services: ['--pull', 'jobs'], tracing: { countTo: trace } });
    const at = { port: server.port, path: '/v1/call/jobs/score' };
    await accept(load, at, { count: syncedAccepts });
    const fromMs = Date.now();
    await accept(load, at, { count: syncedAccepts });
    const toMs = Date.now();
    await server.stop();
    bench.removeFolder(server.data);
    return countSyncs(trace, { fromMs, toMs }) / syncedAccepts;
  });
  return { ...figure, values };
}

export const acceptRow: Row = {
  name: row,
  about: 'durable accepts at 64 callers against bare Fastify and node:http, CPU, syncs per accept',
  async run(bench) {
    const load = await startLoad(bench.children);
    const figures: Figure[] = [];
    if (bench.wants('rates')) figures.push(...(await rates(bench, load)));
    if (bench.wants('syncs')) figures.push(await syncs(bench, load));
    await load.stop();
    return figures;
  },
};
