// `waitless dead-letters SUBSCRIPTION`: the events that could not be delivered, and why.
import type { DeadLetter } from '@waitless/client';
import { Option } from 'commander';
import { type CommandModule, examples, jsonOption, wholeArgument } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions, connectionWords } from '../connection.ts';
import { dataLine } from '../event-line.ts';
import { withSubscriptionNames } from '../subscription-names.ts';
import { commandLine, span } from '../text.ts';

interface Options extends ConnectionOptions {
  limit: number;
  json?: boolean;
}

const pageSize = 1000;

export const deadLetters: CommandModule = {
  name: 'dead-letters',
  summary: 'list the events that a subscription could not deliver, and why',
  define(command, context) {
    examples(command, [
      'npx waitless dead-letters mails',
      'npx waitless dead-letters mails --json | jq -r .event.data',
      'npx waitless redrive mails --all --dry-run',
    ]);
    addConnectionOptions(
      command
        .argument('<SUBSCRIPTION>', 'its name; `npx waitless subscriptions` lists them')
        .addOption(new Option('--limit <N>', 'how many').default(100).argParser(wholeArgument(1, 1_000_000)))
        .addOption(jsonOption('print each as one line of JSON')),
    );
    command.action(async (name: string, options: Options) => {
      const { terminal, output } = context;
      const client = await connect(options, terminal);
      const items: DeadLetter[] = [];
      let next: string | null = null;
      try {
        do {
          const limit = Math.min(pageSize, options.limit - items.length);
          const page = await client.subscriptions.deadLetters(name, { limit, ...(next !== null && { cursor: next }) });
          items.push(...page.items);
          next = page.next;
        } while (next !== null && items.length < options.limit);
      } catch (error) {
        throw await withSubscriptionNames(error, name, client);
      }
      if (options.json) {
        for (const letter of items) output.line(letterJson(letter));
        return;
      }
      if (items.length === 0 && output.attended)
        return output.note(`No dead letters: ${name} has given up on nothing.`);
      const now = terminal.now();
      output.table<DeadLetter>(
        [
          { title: 'POSITION', text: ({ position }) => String(position), right: true },
          { title: 'TOPIC', text: ({ topic }) => topic ?? '' },
          {
            title: 'TAKEN',
            text: ({ takenAt }) => takenAt,
            person: ({ takenAt }) => `${span(now - Date.parse(takenAt))} ago`,
          },
          { title: 'ATTEMPTS', text: ({ attempt }) => String(attempt), right: true },
          { title: 'WHY', text: ({ code, detail }) => [code, detail].filter(Boolean).join(': ') },
          {
            title: 'DATA',
            text: ({ event }) => (event ? dataLine(event) : ''),
            person: ({ event }) => (event ? dataLine(event).slice(0, 60) : 'lost'),
          },
        ],
        items,
      );
      if (!output.attended) return;
      if (next !== null) output.note(output.err.dim(`There are more; --limit ${options.limit * 10} shows them.`));
      output.note(
        output.err.dim(`To try them again: ${commandLine('redrive', name, '--all', ...connectionWords(options))}`),
      );
    });
  },
};

/** Its event as it came. */
export function letterJson({ event, ...letter }: DeadLetter): string {
  return `${JSON.stringify(letter).slice(0, -1)},"event":${event?.cloudEvent ?? 'null'}}`;
}
