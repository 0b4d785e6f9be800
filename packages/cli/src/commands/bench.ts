// `waitless bench`: how much a server of one's own accepts, here and now, with what is in front of it and behind it.
import { randomBytes } from 'node:crypto';
import type { Durability, WaitlessClient } from '@waitless/client';
import { durabilities, routePath } from '@waitless/protocol';
import cliProgress from 'cli-progress';
import { Option } from 'commander';
import { type CommandContext, type CommandModule, examples, jsonOption, wholeArgument } from '../command.ts';
import { addConnectionOptions, connection, type ConnectionOptions, connectionWords } from '../connection.ts';
import { exitCodes, Failure } from '../failure.ts';
import { type Load, newLoad, quantile, runLoad } from '../load.ts';
import { commandLine, span } from '../text.ts';

interface Options extends ConnectionOptions {
  service?: string;
  seconds: number;
  inFlight: number;
  data: string;
  durability: Durability;
  json?: boolean;
}

export const bench: CommandModule = {
  name: 'bench',
  summary: 'measure how much your server accepts',
  define(command, context) {
    examples(command, [
      'npx waitless bench --service jobs',
      `npx waitless bench --service score -d '{"customerId":"42"}' --seconds 10 --in-flight 256`,
    ]);
    addConnectionOptions(
      command
        .addOption(new Option('--service <NAME>', 'where the requests go (default: the only one there is)'))
        .addOption(new Option('--seconds <N>', 'how long').default(5).argParser(wholeArgument(1, 60)))
        .addOption(
          new Option('--in-flight <N>', 'requests under way at a time').default(64).argParser(wholeArgument(1, 1000)),
        )
        .option('-d, --data <DATA>', 'body of every request', '{"bench":true}')
        .addOption(
          new Option('--durability <LEVEL>', 'what the answers promise').choices(durabilities).default('stored'),
        )
        .addOption(jsonOption()),
    );
    command.addHelpText(
      'after',
      `
Every request is real: it is accepted, kept and worked, and the operations stay until their retention ends. Point it at a server of your own.
It measures this machine too, which makes the load: where both are one, the server could do more alone.
Exit codes: 0 every request was accepted, 1 otherwise, 130 stopped by Ctrl-C.`,
    );
    command.action(async (options: Options) => context.exit(await run(options, context)));
  },
};

async function run(options: Options, context: CommandContext): Promise<number> {
  const { terminal, output } = context;
  const { url, apiKey, client } = await connection(options, terminal);
  const service = await serviceOf(options, client);
  const mark = randomBytes(4).toString('hex');
  const { inFlight, durability, seconds } = options;
  const load = newLoad();
  const stop = new AbortController();
  let interrupted = false;
  const unhear = terminal.onSignal(['SIGINT'], () => {
    interrupted = true;
    stop.abort();
  });
  const begun = performance.now();
  const timer = setTimeout(() => stop.abort(), seconds * 1_000);
  const hide = output.attended && terminal.env['TERM'] !== 'dumb' ? showBar(load, seconds, context) : () => undefined;
  try {
    await runLoad(
      {
        url: url + routePath('call', { service }),
        headers: {
          'Content-Type': 'application/json',
          'Operation-Durability': durability,
          ...(durability === 'none' ? {} : { Prefer: 'respond-async', 'Operation-Labels': `bench=${mark}` }),
          ...(apiKey === undefined ? {} : { Authorization: `Bearer ${apiKey}` }),
        },
        body: Buffer.from(options.data),
        inFlight,
        until: stop.signal,
      },
      load,
    );
  } finally {
    hide();
    clearTimeout(timer);
    unhear();
  }
  report({ load, service, tookMs: performance.now() - begun }, options, context);
  if (load.accepted > 0 && durability !== 'none') {
    const words = ['ls', '--service', service, '--label', `bench=${mark}`, ...connectionWords(options)];
    output.note(`${load.accepted.toLocaleString('en')} operations are left behind on the server; these are they:`);
    output.note(`  ${commandLine(...words)}`);
  }
  if (interrupted) return exitCodes.interrupted;
  return load.errors.size === 0 && load.latencies.length > 0 ? exitCodes.success : exitCodes.failure;
}

/** The service that was named, or the only one. Also the first question to the server, so that whatever is wrong is said before the load. */
async function serviceOf({ service }: Options, client: WaitlessClient): Promise<string> {
  const names = (await client.services()).map(({ name }) => name);
  if (service !== undefined ? names.includes(service) : names.length === 1) return service ?? names[0]!;
  if (names.length === 0)
    throw new Failure('the server has no services; start it with one, such as `npx waitless serve --pull jobs`.');
  const list = names.slice(0, 20).join(', ');
  throw new Failure(
    service === undefined
      ? `the server has several services; name one with --service: ${list}.`
      : `there is no service "${service}" here, only: ${list}.`,
  );
}

/** Draws the bar until the returned function is called. */
function showBar(load: Load, seconds: number, { terminal }: CommandContext): () => void {
  const begun = performance.now();
  const elapsed = (): number => Math.min(seconds, (performance.now() - begun) / 1_000);
  const bar = new cliProgress.SingleBar(
    {
      stream: terminal.stderr,
      fps: 8,
      hideCursor: true,
      clearOnComplete: true,
      linewrap: false,
      barsize: 24,
      format: (options, params) =>
        [
          cliProgress.Format.BarFormat(params.progress, options),
          `${Math.floor(elapsed())} of ${seconds} s`,
          `${perSecond(load.accepted + load.answered, elapsed() * 1_000)}`,
          load.errors.size === 0 ? '' : `${sum(load.errors)} errors`,
        ].join('  '),
    },
    cliProgress.Presets.shades_classic,
  );
  bar.start(seconds, 0);
  const timer = setInterval(() => bar.update(elapsed()), 125);
  return () => {
    clearInterval(timer);
    bar.stop();
  };
}

const sum = (errors: Load['errors']): number => [...errors.values()].reduce((all, one) => all + one, 0);

const perSecond = (count: number, ms: number): string =>
  `${Math.round(ms > 0 ? (count * 1_000) / ms : 0).toLocaleString('en')} a second`;

function report(
  { load, service, tookMs }: { load: Load; service: string; tookMs: number },
  { inFlight, durability, json }: Options,
  { output }: CommandContext,
): void {
  const sorted = load.latencies.toSorted((a, b) => a - b);
  const [p50, p99] = [quantile(sorted, 0.5), quantile(sorted, 0.99)];
  const { accepted, answered, errors } = load;
  if (json) {
    output.json({
      service,
      durability,
      inFlight,
      seconds: tookMs / 1_000,
      accepted,
      acceptedPerSecond: (accepted * 1_000) / tookMs,
      answered,
      p50Ms: p50 ?? null,
      p99Ms: p99 ?? null,
      errors: Object.fromEntries(errors),
    });
    return;
  }
  const row = (name: string, text: string): void => output.line(`${output.out.dim(name.padEnd(10))}${text}`);
  const ms = (value: number | undefined): string => (value === undefined ? 'none' : `${value.toFixed(1)} ms`);
  row('accepted', `${accepted.toLocaleString('en')} in ${span(tookMs)}, ${perSecond(accepted, tookMs)}`);
  if (answered > 0) row('stored', `${answered.toLocaleString('en')} answered with a stored result`);
  row('answer', `p50 ${ms(p50)}, p99 ${ms(p99)}, with ${inFlight} in flight`);
  const list = Array.from(errors, ([what, count]) => `${count.toLocaleString('en')} × ${what}`);
  row('errors', list.length === 0 ? 'none' : output.out.red(list.join(', ')));
}
