// `waitless tail`: the events of topics as they happen, one line each, like `tail -f`.
import type { EventFilter } from '@waitless/client';
import { InvalidArgumentError, Option } from 'commander';
import { type CommandModule, examples, jsonOption, wholeArgument } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions, connectionWords } from '../connection.ts';
import { eventPrinter } from '../event-line.ts';
import { exitCodes, Failure } from '../failure.ts';
import { filterOption } from '../filter-option.ts';
import { commandLine, plain } from '../text.ts';

interface Options extends ConnectionOptions {
  from: string;
  filter?: EventFilter[];
  limit?: number;
  json?: boolean;
}

export const tail: CommandModule = {
  name: 'tail',
  summary: 'follow topics, a line for every event as it happens',
  define(command, context) {
    examples(command, [
      `npx waitless tail 'orders.**'`,
      'npx waitless tail orders.placed --from start --limit 10',
      `npx waitless tail '**' --filter 'type=order.*' --json | jq .event.data`,
    ]);
    addConnectionOptions(
      command
        .argument('<PATTERN>', 'a topic, or a pattern: * is one word, ** any number of words')
        .addOption(
          new Option('--from <PLACE>', 'now, start, or a position: what came after it')
            .default('now')
            .argParser(placeArgument),
        )
        .addOption(filterOption())
        .addOption(new Option('--limit <N>', 'end after so many').argParser(wholeArgument(1, 999_999_999)))
        .addOption(
          jsonOption('print {"position", "topic", "event"}, the event in JSON of CloudEvents as it was published'),
        ),
    );
    command.addHelpText(
      'after',
      '\nNothing is kept for who follows: what must not be missed is for a subscription (`npx waitless subscriptions --help`).\nExit codes: 0 after --limit events, 130 after Ctrl-C. A server that restarts is waited for, and nothing is left out.',
    );
    command.action(async (pattern: string, options: Options) => {
      const { terminal, output } = context;
      const client = await connect(options, terminal);
      const stop = new AbortController();
      let last: number | undefined;
      const unhear = terminal.onSignal(['SIGINT', 'SIGTERM'], () => {
        const back = last === undefined ? [] : ['--from', String(last)];
        const words = commandLine('tail', pattern, ...back, ...connectionWords(options));
        stop.abort(
          new Failure(`what is published goes on being kept. Come back with: ${words}`, exitCodes.interrupted),
        );
      });
      const print = eventPrinter(context, options.json === true);
      let told = '';
      const say = (sentence: string): void => {
        const text = `waitless: ${plain(sentence)}`;
        if (text !== told) output.note(text);
        told = text;
      };
      if (output.attended && options.from === 'now')
        output.note(output.err.dim(`Waiting for what is published on ${pattern} from now on. Ctrl-C ends it.`));
      let left = options.limit ?? Number.POSITIVE_INFINITY;
      try {
        const events = client.subscribe(pattern, {
          from: options.from,
          ...(options.filter && { filter: options.filter }),
          signal: stop.signal,
          onRetry: ({ message }) => say(`${message} Trying again.`),
          onReset: ({ detail, from, to }) =>
            say(`events between the positions ${from} and ${to} are not there any more: ${detail}.`),
        });
        for await (const event of events) {
          told = '';
          last = event.position;
          print(event);
          if (--left <= 0) return;
        }
      } finally {
        unhear();
      }
    });
  },
};

function placeArgument(value: string): string {
  if (value === 'now' || value === 'start' || /^\d{1,15}$/.test(value)) return value;
  throw new InvalidArgumentError('It takes now, start, or a position.');
}
