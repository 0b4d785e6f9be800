// Events on PostgreSQL: how many are published with one consumer beside, alone and in batches, what they cost node and database, and what more subscriptions cost.
import { postgresMissing } from '../../test/support/postgres.ts';
import type { Bench, Row } from '../support/bench.ts';
import type { Figure } from '../support/figures.ts';
import { type Load, startLoad } from '../support/load.ts';
import { loadFigures } from '../support/load-figures.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import {
  callers,
  forms,
  manySubscriptions,
  publish,
  type PublishSample,
  startTopic,
  type Topic,
  warmUpSeconds,
} from '../support/publishing.ts';
import { ratioFigure } from '../support/ratio.ts';

const row = 'publish-postgres';

interface Store extends Topic {
  postgres: Postgres;
}

interface Sample extends Omit<PublishSample, 'cpuPer10k'> {
  nodeCpuPer10k: number;
  databaseCpuPer10k: number;
  /** Per event. */
  writes: number;
  walBytes: number;
}

async function startStore(bench: Bench, subscriptions: number): Promise<Store> {
  const postgres = await startPostgres(bench);
  const topic = await startTopic(bench, { subscriptions, data: postgres.url });
  return {
    ...topic,
    postgres,
    async stop() {
      await topic.stop();
      await postgres.remove();
    },
  };
}

async function sample(
  bench: Bench,
  load: Load,
  { on, items, seconds }: { on: Store; items: number; seconds: number },
): Promise<Sample> {
  const before = await on.postgres.written();
  const { cpuPer10k, ...published } = await publish(bench, load, {
    on,
    items,
    seconds,
    others: [on.postgres.cpuSeconds],
  });
  const after = await on.postgres.written();
  return {
    ...published,
    nodeCpuPer10k: cpuPer10k,
    databaseCpuPer10k: published.othersPer10k[0]!,
    writes: (after.writes - before.writes) / published.events,
    walBytes: (after.walBytes - before.walBytes) / published.events,
  };
}

async function rates(bench: Bench, load: Load): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const { name, items } of forms.filter((form) => bench.wants(form.name))) {
    bench.step(`${row}: starting a database, ${name}`);
    const on = await startStore(bench, 1);
    bench.step(`${row}: warming up, ${name}`);
    await sample(bench, load, { on, items, seconds: warmUpSeconds });
    const samples = await bench.repeat(`${row}: ${name}`, () =>
      sample(bench, load, { on, items, seconds: bench.options.seconds }),
    );
    await on.stop();
    const per = (what: string, unit: string, key: 'deliveries' | 'writes' | 'walBytes'): Figure => ({
      row,
      case: name,
      what,
      unit,
      values: samples.map((each) => each[key]),
    });
    figures.push(
      ...loadFigures({ row, name, samples }),
      per('acknowledged deliveries', 'per s', 'deliveries'),
      per('commits that write per event', '', 'writes'),
      per('WAL per event', 'bytes', 'walBytes'),
    );
  }
  return figures;
}

async function subscriptions(bench: Bench, load: Load): Promise<Figure[]> {
  const name = `1 subscription and ${manySubscriptions}`;
  if (!bench.wants(name)) return [];
  bench.step(`${row}: starting two databases, ${name}`);
  const one = await startStore(bench, 1);
  const many = await startStore(bench, manySubscriptions);
  bench.step(`${row}: warming up, ${name}`);
  for (const on of [one, many]) await sample(bench, load, { on, items: 1, seconds: warmUpSeconds });
  const rounds = await bench.repeat(`${row}: ${name} in turn`, async () => {
    const { seconds } = bench.options;
    return {
      one: await sample(bench, load, { on: one, items: 1, seconds }),
      many: await sample(bench, load, { on: many, items: 1, seconds }),
    };
  });
  await one.stop();
  await many.stop();
  const ratio = (what: string, key: 'perSecond' | 'nodeCpuPer10k' | 'databaseCpuPer10k'): Figure =>
    ratioFigure({
      row,
      case: name,
      what: `${what}, ${manySubscriptions} / 1`,
      of: rounds.map((round) => round.many[key]),
      to: rounds.map((round) => round.one[key]),
      ...(key === 'perSecond' ? { target: { atLeast: 0.9 } } : {}),
    });
  return [ratio('rate', 'perSecond'), ratio('node CPU', 'nodeCpuPer10k'), ratio('database CPU', 'databaseCpuPer10k')];
}

export const publishPostgresRow: Row = {
  name: row,
  about: `events/s on PostgreSQL with ${callers} callers and in batches beside one consumer, 1 subscription against ${manySubscriptions}`,
  async run(bench) {
    const skipped = postgresMissing();
    if (skipped) return [{ row, case: 'all', what: 'rates', unit: 'per s', values: [], skipped }];
    const load = await startLoad(bench.children);
    const figures = [...(await rates(bench, load)), ...(await subscriptions(bench, load))];
    await load.stop();
    return figures;
  },
};
