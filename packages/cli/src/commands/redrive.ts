// `waitless redrive SUBSCRIPTION`: dead letters get another chance.
import type { DeadLetter, WaitlessClient } from '@waitless/client';
import { InvalidArgumentError, Option } from 'commander';
import { type CommandModule, examples, jsonOption } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions, connectionWords } from '../connection.ts';
import { wrongUsage } from '../failure.ts';
import { withSubscriptionNames } from '../subscription-names.ts';
import { commandLine } from '../text.ts';

interface Options extends ConnectionOptions {
  position?: number[];
  all?: boolean;
  dryRun?: boolean;
  json?: boolean;
}

export const redrive: CommandModule = {
  name: 'redrive',
  summary: 'have the dead letters of a subscription tried again',
  define(command, context) {
    examples(command, [
      'npx waitless redrive mails --all --dry-run',
      'npx waitless redrive mails --position 41 --position 57',
      'npx waitless redrive mails --all',
    ]);
    addConnectionOptions(
      command
        .argument('<SUBSCRIPTION>', 'its name; `npx waitless subscriptions` lists them')
        .addOption(
          new Option('--position <N>', 'the dead letter at this position; may be repeated').argParser(positionArgument),
        )
        .option('--all', 'all there are now')
        .option('--dry-run', 'only say which')
        .addOption(jsonOption('print {"redriven": N}')),
    );
    command.action(async (name: string, options: Options) => {
      const { terminal, output } = context;
      const { position: positions, all, dryRun, json } = options;
      if ((positions === undefined) === (all !== true))
        throw wrongUsage(`which ones? --all, or --position N for one of \`${commandLine('dead-letters', name)}\`.`);
      const client = await connect(options, terminal);
      try {
        if (dryRun) {
          const found = await wouldBe(client, name, positions);
          if (json) return output.json({ positions: found.map(({ position }) => position) });
          for (const { position } of found) output.line(String(position));
          if (output.attended)
            output.note(
              output.err.dim(
                found.length === 0
                  ? 'There is nothing to redrive.'
                  : `${found.length} would be tried again; without --dry-run they are.`,
              ),
            );
          return;
        }
        const redriven = await client.subscriptions.redrive(name, { positions });
        if (json) return output.json({ redriven });
        output.line(String(redriven));
        if (!output.attended) return;
        output.note(
          output.err.dim(
            redriven === 0
              ? `No dead letter was there. ${commandLine('dead-letters', name, ...connectionWords(options))} lists those there are.`
              : `Tried again. How it goes: ${commandLine('subscriptions', 'lag', name, ...connectionWords(options))}`,
          ),
        );
      } catch (error) {
        throw await withSubscriptionNames(error, name, client);
      }
    });
  },
};

async function wouldBe(
  client: WaitlessClient,
  name: string,
  positions: readonly number[] | undefined,
): Promise<DeadLetter[]> {
  const found: DeadLetter[] = [];
  let next: string | null = null;
  do {
    const page = await client.subscriptions.deadLetters(name, { limit: 1000, ...(next !== null && { cursor: next }) });
    found.push(...page.items.filter(({ position }) => positions?.includes(position) ?? true));
    next = page.next;
  } while (next !== null);
  return found;
}

function positionArgument(value: string, before: readonly number[] | undefined): number[] {
  if (!/^[1-9]\d{0,14}$/.test(value))
    throw new InvalidArgumentError('It takes the position of a dead letter, a whole number.');
  return [...(before ?? []), Number(value)];
}
