// What one would build instead: RabbitMQ with a durable quorum queue behind a minimal Fastify front, in the same minutes as a node on PostgreSQL.
import { postgresMissing } from '../../test/support/postgres.ts';
import type { Bench, Row } from '../support/bench.ts';
import { firstMessage } from '../support/children.ts';
import type { Figure } from '../support/figures.ts';
import { type Load, startLoad } from '../support/load.ts';
import { loadFigures, type LoadSample, loadSample, per10k } from '../support/load-figures.ts';
import { type LoadKind, loadNodes, type Nodes, serviceOf, startNodes } from '../support/nodes.ts';
import { postBytes, replyBody } from '../support/payload.ts';
import { type Rabbit, rabbitMissing, startRabbit } from '../support/rabbit.ts';
import { ratioFigure } from '../support/ratio.ts';

const row = 'peers';
const connections = 64;
const warmUpSeconds = 2;

/** Both halves of what serves the requests: the process that speaks HTTP, and the one that stores. */
interface Sample extends LoadSample {
  frontCpuPer10k: number;
  storeCpuPer10k: number;
}

interface Contender {
  name: string;
  front: string;
  store: string;
  run(kind: LoadKind, seconds: number): Promise<Sample>;
  stop(): Promise<void>;
}

function waitlessContender(bench: Bench, load: Load, nodes: Nodes): Contender {
  return {
    name: 'waitless',
    front: 'node',
    store: `PostgreSQL ${nodes.postgres.version}`,
    async run(kind, seconds) {
      const { nodeCpuPer10k, databaseCpuPer10k, ...sample } = await loadNodes(bench, {
        load,
        nodes,
        kind,
        connections,
        seconds,
      });
      return {
        ...sample,
        cpuPer10k: nodeCpuPer10k + databaseCpuPer10k,
        frontCpuPer10k: nodeCpuPer10k,
        storeCpuPer10k: databaseCpuPer10k,
      };
    },
    stop: () => nodes.stop(),
  };
}

async function rabbitContender(bench: Bench, load: Load): Promise<Contender> {
  const rabbit: Rabbit = await startRabbit(bench);
  const front = bench.children.fork('./rabbit-front.ts', [rabbit.url]);
  const port = await firstMessage<number>(front, 'the front of RabbitMQ');
  const worker = bench.children.fork('./rabbit-worker.ts', [rabbit.url]);
  await firstMessage(worker, 'the worker of RabbitMQ');
  return {
    name: 'rabbitmq quorum',
    front: 'Fastify',
    store: `RabbitMQ ${rabbit.version}`,
    async run(kind, seconds) {
      const path = `/${serviceOf[kind]}`;
      const job =
        kind === 'accept'
          ? { request: postBytes(port, path), expect: { status: 202 } }
          : { request: postBytes(port, path, { Prefer: 'wait=30' }), expect: { status: 200, body: replyBody } };
      const { result, cpu } = await bench.measure([front.pid, rabbit.cpuSeconds, worker.pid, load.pid], () =>
        load.run({ ...job, port, connections, seconds }),
      );
      // A long queue is slower, and RabbitMQ is not to be measured by what earlier runs have left there.
      if (kind === 'accept') await rabbit.purge('accepted');
      return {
        ...loadSample(result, cpu[0]! + cpu[1]!),
        frontCpuPer10k: per10k(cpu[0]!, result.operations),
        storeCpuPer10k: per10k(cpu[1]!, result.operations),
      };
    },
    async stop() {
      await worker.stop();
      await front.stop();
      await rabbit.stop();
    },
  };
}

async function measureKind(bench: Bench, contenders: readonly Contender[], kind: LoadKind): Promise<Figure[]> {
  const name = `${kind}, ${connections} in flight`;
  const rounds = await bench.repeat(`peers: ${name}, in turn`, async (turn) => {
    const samples: Sample[] = [];
    // Who goes first changes, so that neither always follows the other.
    const order = turn % 2 === 1 ? [0, 1] : [1, 0];
    for (const i of order) samples[i] = await contenders[i]!.run(kind, bench.options.seconds);
    return samples;
  });
  const ratio = (what: string, key: keyof Sample, target?: NonNullable<Figure['target']>): Figure =>
    ratioFigure({
      row,
      case: name,
      what,
      of: rounds.map(([ours]) => ours![key]),
      to: rounds.map(([, theirs]) => theirs![key]),
      ...(target ? { target } : {}),
    });
  return [
    ratio('rate, waitless / rabbitmq quorum', 'perSecond', kind === 'e2e' ? { atLeast: 1 } : undefined),
    ratio('server CPU, waitless / rabbitmq quorum', 'cpuPer10k'),
    ...contenders.flatMap((contender, i) => {
      const samples = rounds.map((round) => round[i]!);
      const part = (of: string, key: 'frontCpuPer10k' | 'storeCpuPer10k'): Figure => ({
        row,
        case: `${name}, ${contender.name}`,
        what: `of this ${of} per 10,000`,
        unit: 's',
        values: samples.map((sample) => sample[key]),
      });
      return [
        part(contender.front, 'frontCpuPer10k'),
        part(contender.store, 'storeCpuPer10k'),
        ...loadFigures({ row, name: `${name}, ${contender.name}`, samples }),
      ];
    }),
  ];
}

export const peersRow: Row = {
  name: row,
  about: 'accept and e2e at 64 in flight, Waitless on PostgreSQL and RabbitMQ quorum behind Fastify in turn',
  async run(bench) {
    const skipped = postgresMissing() ?? rabbitMissing();
    if (skipped) return [{ row, case: 'all', what: 'rates', unit: 'per s', values: [], skipped }];
    const load = await startLoad(bench.children);
    bench.step('peers: starting both');
    const contenders = [
      waitlessContender(bench, load, await startNodes(bench, { count: 1 })),
      await rabbitContender(bench, load),
    ];
    const kinds = (['accept', 'e2e'] as const).filter((kind) => bench.wants(`${kind}, ${connections} in flight`));
    bench.step('peers: warming up');
    for (const kind of kinds) for (const contender of contenders) await contender.run(kind, warmUpSeconds);
    const figures: Figure[] = [];
    for (const kind of kinds) figures.push(...(await measureKind(bench, contenders, kind)));
    for (const contender of contenders) await contender.stop();
    await load.stop();
    return figures;
  },
};
