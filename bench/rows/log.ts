// What one counter of positions per namespace costs the log, on one node and on three, against a plain sequence, which would let a reader skip events.
import { postgresMissing } from '../../test/support/postgres.ts';
import type { Bench, Row } from '../support/bench.ts';
import type { Figure } from '../support/figures.ts';
import { loadFigures, per10k } from '../support/load-figures.ts';
import { type AppendHow, appendHows, type Appender, comparisonTables, startAppender } from '../support/log-job.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { ratioFigure } from '../support/ratio.ts';
import { percentile } from '../support/statistics.ts';

const row = 'log';
/** In all, divided among the nodes. */
const callers = 64;
const nodeCounts = [1, 3] as const;
const warmUpSeconds = 1;
const names: Readonly<Record<AppendHow, string>> = {
  engine: "the store's log",
  counter: 'counter',
  sequence: 'sequence',
};
const caseName = (nodes: number): string => `append, ${nodes} node${nodes === 1 ? '' : 's'}`;

interface Sample {
  perSecond: number;
  nodeCpuPer10k: number;
  databaseCpuPer10k: number;
  p50: number;
  p99: number;
  writes: number;
  walBytes: number;
}

type Round = Record<AppendHow, Sample>;

async function sample(
  bench: Bench,
  {
    postgres,
    appenders,
    how,
    seconds,
  }: { postgres: Postgres; appenders: readonly Appender[]; how: AppendHow; seconds: number },
): Promise<Sample> {
  if (how !== 'engine') await postgres.query(`TRUNCATE bench.${how}`, 'UPDATE bench.log SET last = 0');
  const before = await postgres.written();
  const { result, cpu } = await bench.measure([postgres.cpuSeconds, ...appenders.map(({ pid }) => pid)], () =>
    Promise.all(
      appenders.map((appender, i) =>
        appender.run({ url: postgres.url, how, seconds, callers: Math.floor((callers + i) / appenders.length) }),
      ),
    ),
  );
  const after = await postgres.written();
  const appended = result.reduce((sum, each) => sum + each.appended, 0);
  if (how === 'counter') await expectDense(postgres, appended);
  const latenciesMs = result.flatMap((each) => [...each.latenciesMs]).sort((a, b) => a - b);
  const [databaseCpu = 0, ...nodeCpu] = cpu;
  return {
    perSecond: result.reduce((sum, each) => sum + each.perSecond, 0),
    nodeCpuPer10k: per10k(
      nodeCpu.reduce((sum, each) => sum + each, 0),
      appended,
    ),
    databaseCpuPer10k: per10k(databaseCpu, appended),
    p50: percentile(latenciesMs, 0.5),
    p99: percentile(latenciesMs, 0.99),
    writes: (after.writes - before.writes) / appended,
    walBytes: (after.walBytes - before.walBytes) / appended,
  };
}

/** A comparison whose counter gave positions twice or not at all would compare nothing. */
async function expectDense(postgres: Postgres, appended: number): Promise<void> {
  const [found] = await postgres.query('SELECT count(*)::int AS events, max(position)::int AS last FROM bench.counter');
  if (found?.['events'] !== appended || found['last'] !== appended)
    throw new Error(`${appended} events were appended, but the table holds ${JSON.stringify(found)}`);
}

function figuresOf(nodes: number, rounds: readonly Round[]): Figure[] {
  const name = caseName(nodes);
  const ratio = (what: string, key: keyof Sample): Figure =>
    ratioFigure({
      row,
      case: name,
      what: `${what}, counter / sequence`,
      of: rounds.map((round) => round.counter[key]),
      to: rounds.map((round) => round.sequence[key]),
    });
  return [
    ratio('rate', 'perSecond'),
    ratio('database CPU', 'databaseCpuPer10k'),
    ...appendHows.flatMap((how) => {
      const samples = rounds.map((round) => round[how]);
      const per = (what: string, unit: string, key: keyof Sample): Figure => ({
        row,
        case: `${name}, ${names[how]}`,
        what,
        unit,
        values: samples.map((each) => each[key]),
      });
      return [
        per('commits per event', '', 'writes'),
        per('WAL per event', 'bytes', 'walBytes'),
        ...loadFigures({ row, name: `${name}, ${names[how]}`, samples }),
      ];
    }),
  ];
}

export const logRow: Row = {
  name: row,
  about: `appends of 1 KB to one namespace's log on PostgreSQL with ${callers} callers, 1 node and 3: one counter against a sequence`,
  async run(bench) {
    const skipped = postgresMissing();
    if (skipped) return [{ row, case: 'all', what: 'rates', unit: 'per s', values: [], skipped }];
    bench.step('log: starting');
    const postgres = await startPostgres(bench);
    await postgres.query(...comparisonTables);
    const appenders: Appender[] = [];
    for (let i = 0; i < Math.max(...nodeCounts); i++) appenders.push(await startAppender(bench));
    const of = (count: number): Appender[] => appenders.slice(0, count);
    for (const how of appendHows) {
      bench.step(`log: warming up, ${names[how]}`);
      await sample(bench, { postgres, appenders, how, seconds: warmUpSeconds });
    }
    const figures: Figure[] = [];
    for (const count of nodeCounts) {
      if (!bench.wants(caseName(count))) continue;
      const rounds = await bench.repeat(`log: ${caseName(count)}`, async () => {
        const round: Partial<Round> = {};
        for (const how of appendHows)
          round[how] = await sample(bench, { postgres, appenders: of(count), how, seconds: bench.options.seconds });
        return round as Round;
      });
      figures.push(...figuresOf(count, rounds));
    }
    for (const appender of appenders) await appender.stop();
    await postgres.remove();
    return figures;
  },
};
