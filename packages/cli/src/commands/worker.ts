// `waitless worker SERVICE --exec CMD`: makes any program a worker of a pull service.
import { WaitlessError, type Job, type Reply } from '@waitless/client';
import { parseDuration } from '@waitless/protocol';
import { Option } from 'commander';
import { type CommandContext, type CommandModule, durationArgument, examples, wholeArgument } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions } from '../connection.ts';
import { CommandFailed, execJob } from '../exec-job.ts';
import { exitCodes, Failure } from '../failure.ts';
import { plain, span } from '../text.ts';

interface Options extends ConnectionOptions {
  exec: string;
  concurrency: number;
  contentType?: string;
  name?: string;
  lease: string;
  grace: string;
}

export const worker: CommandModule = {
  name: 'worker',
  summary: 'make any program a worker of a pull service',
  define(command, context) {
    examples(command, [
      `npx waitless worker jobs --exec 'tr a-z A-Z'`,
      'npx waitless worker images --exec ./resize.sh --concurrency 4 --content-type image/png',
      `npx waitless worker mails --exec 'python3 send.py "$WAITLESS_OPERATION_ID"'`,
    ]);
    addConnectionOptions(
      command
        .argument('<SERVICE>', 'name of the service, one that is worked by pull leases')
        .requiredOption('--exec <CMD>', 'what to run for each job, by the shell')
        .addOption(new Option('--concurrency <N>', 'jobs at a time').default(1).argParser(wholeArgument(1, 1000)))
        .option('--content-type <TYPE>', 'media type of the result (default: JSON or text where it is, else bytes)')
        .option('--name <NAME>', 'shown in the timeline of what it works on')
        .addOption(
          new Option('--lease <DURATION>', 'a worker that is silent for so long has lost its job')
            .default('30s')
            .argParser(durationArgument),
        )
        .addOption(
          new Option('--grace <DURATION>', 'time for what runs to finish when the worker is asked to stop')
            .default('25s')
            .argParser(durationArgument),
        ),
    );
    command.addHelpText(
      'after',
      `
The command gets the body of the request as its input, and what it prints is the result. Its exit code says how it went:
  0      success
  75     not now: tried again later, as the service's retry says
  other  failed, with the last line it wrote to stderr as the reason
A command that is killed by a signal, or cannot be run at all, is tried again too.
It finds in its environment: WAITLESS_OPERATION_ID (the same on every attempt), WAITLESS_CORRELATION_ID, WAITLESS_SERVICE,
WAITLESS_ATTEMPT, WAITLESS_LAST_ATTEMPT, WAITLESS_METHOD, WAITLESS_PATH, WAITLESS_QUERY, WAITLESS_CONTENT_TYPE, WAITLESS_DEADLINE.
A job that is cancelled, or has passed to another worker, ends the command. Work may come twice, so let a repeat do no harm.
Exit codes: 0 stopped by a signal, 1 failure, 2 wrong usage, 130 or 143 stopped by a second signal.`,
    );
    command.action(async (service: string, options: Options) => run(service, options, context));
  },
};

async function run(service: string, options: Options, { terminal, output }: CommandContext): Promise<void> {
  const client = await connect(options, terminal);
  const giveUp = new AbortController();
  const hurry = new AbortController();
  let done = 0;
  let told = '';

  const handle = async (job: Job): Promise<Reply> => {
    const begun = performance.now();
    const took = (): string => span(performance.now() - begun);
    try {
      const reply = await execJob(
        {
          command: options.exec,
          cwd: terminal.cwd,
          env: terminal.env,
          contentType: options.contentType,
          hurry: hurry.signal,
          onStderr: (chunk) => void terminal.stderr.write(chunk),
        },
        job,
      );
      done++;
      if (!job.signal.aborted) output.note(`${job.id}  ${output.err.green('done')} after ${took()}`);
      return reply;
    } catch (error) {
      if (job.signal.aborted) throw error;
      const { code, message, retry } = error as CommandFailed;
      const what = retry ? output.err.yellow('to be tried again') : output.err.red('failed');
      output.note(`${job.id}  ${what} after ${took()}: ${plain(message)}`);
      // Nothing has ever worked, so the next job would fail just the same, and the one after it.
      if (code === 'command-not-found' && done === 0)
        giveUp.abort(new Failure(`--exec: the command cannot be run: ${plain(message)}`));
      throw error;
    }
  };

  const running = client.worker(service, handle, {
    concurrency: options.concurrency,
    name: options.name,
    leaseSeconds: parseDuration(options.lease)! / 1_000,
    onRetry(error) {
      const text = `waitless: ${plain(error.message)} Trying again.`;
      if (text !== told) output.note(text);
      told = text;
    },
    onFailure(error, job) {
      // What the command did has been told; this is what became of its answer.
      if (error instanceof WaitlessError) output.note(`${job.id}  not taken: ${plain(error.message)}`);
    },
  });
  const graceSeconds = parseDuration(options.grace)! / 1_000;
  let signals = 0;
  const unhear = terminal.onSignal(['SIGTERM', 'SIGINT'], (signal) => {
    if (signals++ > 0) {
      // They are in groups of their own and would outlive us.
      hurry.abort();
      terminal.exit(signal === 'SIGINT' ? exitCodes.interrupted : 143);
    }
    output.note(`Finishing what runs, within ${span(graceSeconds * 1_000)}; once more to stop at once.`);
    // Whoever waits below hears of what goes wrong.
    running.stop({ graceSeconds }).catch(() => undefined);
  });
  giveUp.signal.addEventListener('abort', () => void running.stop({ graceSeconds: 0 }).catch(() => undefined), {
    once: true,
  });
  if (output.attended)
    output.note(output.err.dim(`Worker ${running.name} takes work from ${service} at ${client.url}. Ctrl-C stops it.`));
  try {
    await running.done;
  } finally {
    unhear();
  }
  giveUp.signal.throwIfAborted();
}
