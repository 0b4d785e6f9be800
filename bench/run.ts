// The benchmark's command: which rows, how long, and where the figures go.
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { rows } from './rows/index.ts';
import { Bench, type BenchOptions } from './support/bench.ts';
import { printProfiles } from './support/cpu-profile.ts';
import { describeEnvironment } from './support/environment.ts';
import { type JudgedFigure, judge, tables } from './support/figures.ts';
import { terminalProgress } from './support/progress.ts';

const help = `Usage: node bench/run.ts [ROW...] [options]     (or: npm run bench -- [ROW...] [options])

Rows (all of them by default):
${rows.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join('\n')}

Options:
  --seconds N        length of one run (default 4)
  --runs N           runs per figure (default 3)
  --only TEXT        only the cases whose name contains TEXT, such as "64 in flight" (e2e, slow-disk), accept (slow-disk), syncs (accept)
  --operations N     pending operations of the memory row, expired ones of the sweep row (default 1000000)
  --dir DIR          where the stores are made; must be on a disk (default: the folder for temporary files)
  --cpu-profile DIR  also write CPU profiles of the servers there and print where their threads spent their time
  --json             print the figures as JSON
  --help             print this

Build first (npm run build). Figures count only on a machine that does nothing else.
`;

class UsageError extends Error {}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new UsageError(`--${name} takes a number above 0, not "${text}"`);
  return value;
}

function readCommand() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '4' },
      runs: { type: 'string', default: '3' },
      only: { type: 'string' },
      operations: { type: 'string', default: '1000000' },
      dir: { type: 'string', default: tmpdir() },
      'cpu-profile': { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const chosen =
    positionals.length === 0
      ? rows
      : positionals.map((name) => {
          const row = rows.find((r) => r.name === name);
          if (!row) throw new UsageError(`there is no row "${name}"; rows are ${rows.map((r) => r.name).join(', ')}`);
          return row;
        });
  const options: BenchOptions = {
    seconds: positive('seconds', values.seconds),
    runs: Math.ceil(positive('runs', values.runs)),
    only: values.only,
    folder: values.dir,
    operations: Math.ceil(positive('operations', values.operations)),
    cpuProfile: values['cpu-profile'],
  };
  return { chosen, options, json: values.json, help: values.help };
}

async function main(): Promise<void> {
  const command = readCommand();
  if (command.help) return void process.stdout.write(help);
  if (process.platform !== 'linux')
    throw new Error('the benchmark reads CPU time and memory from /proc and so needs Linux');
  const progress = terminalProgress(process.stderr);
  const bench = new Bench(command.options, progress);
  const leave = (): void => void bench.end().finally(() => process.exit(130));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, leave);
  const figures: JudgedFigure[] = [];
  const environment = describeEnvironment(command.options.folder);
  try {
    for (const row of command.chosen) {
      const judged = (await row.run(bench)).map(judge);
      figures.push(...judged);
      progress.clear();
      if (!command.json && command.chosen.length > 1) process.stdout.write(`${tables(judged)}\n\n`);
    }
  } finally {
    await bench.end();
  }
  if (command.json)
    return void process.stdout.write(
      `${JSON.stringify({ environment, disturbance: bench.disturbance, options: command.options, figures }, null, 2)}\n`,
    );
  if (command.chosen.length === 1) process.stdout.write(`${tables(figures)}\n\n`);
  const { date, node, cpu, cores, memoryGiB, system, fileSystem } = environment;
  process.stdout.write(
    `${date}, Node ${node}, ${cores} x ${cpu}, ${memoryGiB} GiB, ${system}, ${fileSystem}; runs of ${command.options.seconds} s\n`,
  );
  const { runs, disturbed, kept, others, fastestCoreNs, slowestCoreNs } = bench.disturbance;
  if (slowestCoreNs > 0)
    process.stdout.write(
      `Core probe ${fastestCoreNs.toFixed(2)} to ${slowestCoreNs.toFixed(2)} ns a step; others took up to ${Math.round(others * 100)} % of the machine.\n`,
    );
  if (disturbed > 0)
    process.stdout.write(
      `${disturbed} of ${runs} runs were disturbed and repeated; ${kept} of them are in the figures for want of better ones${kept > 0 ? ': take those as rough' : ''}.\n`,
    );
  if (command.options.cpuProfile !== undefined) printProfiles(command.options.cpuProfile, process.stdout);
}

main().catch((error: unknown) => {
  const { message, code } = error as Error & { code?: string };
  const usage = error instanceof UsageError || code?.startsWith('ERR_PARSE_ARGS') === true;
  process.stderr.write(`${usage ? `${message}\nSee node bench/run.ts --help` : (error as Error).stack}\n`);
  process.exitCode = usage ? 2 : 1;
});
