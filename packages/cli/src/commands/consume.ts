// `waitless consume SUBSCRIPTION`: makes any program a consumer of a pull subscription, or prints its events and is done with them.
import { type ConsumedEvent, WaitlessError } from '@waitless/client';
import { parseDuration } from '@waitless/protocol';
import { Option } from 'commander';
import {
  type CommandContext,
  type CommandModule,
  durationArgument,
  examples,
  jsonOption,
  wholeArgument,
} from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions } from '../connection.ts';
import { eventPrinter } from '../event-line.ts';
import { type CommandFailed, runCommand } from '../exec-job.ts';
import { exitCodes, wrongUsage } from '../failure.ts';
import { withSubscriptionNames } from '../subscription-names.ts';
import { plain, span } from '../text.ts';

interface Options extends ConnectionOptions {
  exec?: string;
  concurrency?: number;
  name?: string;
  lease: string;
  grace: string;
  limit?: number;
  json?: boolean;
}

export const consume: CommandModule = {
  name: 'consume',
  summary: 'take the events of a pull subscription, print them or run a program for each',
  define(command, context) {
    examples(command, [
      'npx waitless consume history --json >> history.ndjson',
      'npx waitless consume history --exec ./store.sh --concurrency 4',
      `npx waitless consume mails --exec 'mail -s "$WAITLESS_EVENT_SUBJECT" alice@example.com'`,
    ]);
    addConnectionOptions(
      command
        .argument('<SUBSCRIPTION>', 'its name, of one made with --pull; `npx waitless subscriptions` lists them')
        .option('--exec <CMD>', 'what to run for each event, by the shell; without it each is printed')
        .addOption(
          new Option('--concurrency <N>', 'with --exec: events at a time (default: 1)').argParser(
            wholeArgument(1, 1000),
          ),
        )
        .option('--name <NAME>', 'of this consumer, shown where the event is on its way')
        .addOption(
          new Option('--lease <DURATION>', 'a consumer that is silent for so long has lost its event')
            .default('30s')
            .argParser(durationArgument),
        )
        .addOption(
          new Option('--grace <DURATION>', 'time for what runs to finish when it is asked to stop')
            .default('25s')
            .argParser(durationArgument),
        )
        .addOption(
          new Option('--limit <N>', 'without --exec: end after so many').argParser(wholeArgument(1, 999_999_999)),
        )
        .addOption(jsonOption('without --exec: print {"position", "topic", "event"}')),
    );
    command.addHelpText(
      'after',
      `
An event is done with, and never comes to this subscription again, once it was printed, or the command has ended with exit code 0.
With another one it comes again, as the subscription's retry says, and after the last attempt it is a dead letter.
The command gets the data as its input, and what it prints is printed. It finds in its environment: WAITLESS_EVENT_ID and WAITLESS_EVENT_SOURCE
(together the same on every attempt), WAITLESS_EVENT_TYPE, WAITLESS_EVENT_SUBJECT, WAITLESS_EVENT_TIME, WAITLESS_TOPIC, WAITLESS_POSITION,
WAITLESS_CONTENT_TYPE, WAITLESS_ATTEMPT, WAITLESS_LAST_ATTEMPT. An event may come twice, so let a repeat do no harm.
Exit codes: 0 stopped by a signal or after --limit events, 1 failure, 2 wrong usage, 130 or 143 stopped by a second signal.`,
    );
    command.action(async (subscription: string, options: Options) => run(subscription, options, context));
  },
};

const variablesOf = (event: ConsumedEvent): Record<string, string> => ({
  WAITLESS_EVENT_ID: event.id,
  WAITLESS_EVENT_SOURCE: event.source,
  WAITLESS_EVENT_TYPE: event.type,
  WAITLESS_EVENT_SUBJECT: event.subject ?? '',
  WAITLESS_EVENT_TIME: event.time ?? '',
  WAITLESS_TOPIC: event.topic,
  WAITLESS_POSITION: String(event.position),
  WAITLESS_CONTENT_TYPE: event.contentType,
  WAITLESS_ATTEMPT: String(event.attempt),
  WAITLESS_LAST_ATTEMPT: String(event.lastAttempt),
});

async function run(subscription: string, options: Options, context: CommandContext): Promise<void> {
  const { terminal, output } = context;
  const { exec: command, limit } = options;
  if (command !== undefined && (options.json || limit !== undefined))
    throw wrongUsage('--json and --limit are for events that are printed; --exec runs a command instead.');
  if (command === undefined && options.concurrency !== undefined)
    throw wrongUsage('--concurrency is for --exec; events are printed one after another.');
  const client = await connect(options, terminal);
  const graceSeconds = parseDuration(options.grace)! / 1_000;
  const hurry = new AbortController();
  const print = eventPrinter(context, options.json === true);
  let told = '';
  let printed = 0;

  async function execute(event: ConsumedEvent): Promise<void> {
    const begun = performance.now();
    const took = (): string => span(performance.now() - begun);
    try {
      const settings = {
        command: command!,
        cwd: terminal.cwd,
        env: terminal.env,
        hurry: hurry.signal,
        onStderr: (chunk: Buffer): void => void terminal.stderr.write(chunk),
      };
      const stdout = await runCommand(settings, {
        body: event.bytes,
        signal: event.signal,
        variables: variablesOf(event),
      });
      if (event.signal.aborted) return;
      await output.bytes(stdout);
      output.note(`#${event.position}  ${output.err.green('done')} after ${took()}`);
    } catch (error) {
      const what = event.lastAttempt ? output.err.red('dead letter') : output.err.yellow('comes again');
      if (!event.signal.aborted)
        output.note(`#${event.position}  ${what} after ${took()}: ${plain((error as CommandFailed).message)}`);
      throw error;
    }
  }

  function show(event: ConsumedEvent): void {
    print(event);
    if (++printed === limit) void consumer.stop({ graceSeconds }).catch(() => undefined);
  }

  const consumer = client.consume(subscription, command === undefined ? show : execute, {
    concurrency: options.concurrency ?? 1,
    name: options.name,
    leaseSeconds: parseDuration(options.lease)! / 1_000,
    onRetry({ message }) {
      const text = `waitless: ${plain(message)} Trying again.`;
      if (text !== told) output.note(text);
      told = text;
    },
    onFailure(error, { position }) {
      // What the command did has been told; this is what became of its answer.
      if (error instanceof WaitlessError) output.note(`#${position}  not taken: ${plain(error.message)}`);
    },
    onReset: ({ from, to }) =>
      output.note(`waitless: events between the positions ${from} and ${to} were removed before they were read.`),
  });
  let signals = 0;
  const unhear = terminal.onSignal(['SIGTERM', 'SIGINT'], (signal) => {
    if (signals++ > 0) {
      // They are in groups of their own and would outlive us.
      hurry.abort();
      terminal.exit(signal === 'SIGINT' ? exitCodes.interrupted : 143);
    }
    if (command !== undefined)
      output.note(`Finishing what runs, within ${span(graceSeconds * 1_000)}; once more to stop at once.`);
    // Whoever waits below hears of what goes wrong.
    consumer.stop({ graceSeconds }).catch(() => undefined);
  });
  if (output.attended)
    output.note(
      output.err.dim(`${consumer.name} takes the events of ${subscription} at ${client.url}. Ctrl-C stops it.`),
    );
  try {
    await consumer.done;
  } catch (error) {
    throw await withSubscriptionNames(error, subscription, client);
  } finally {
    unhear();
  }
}
