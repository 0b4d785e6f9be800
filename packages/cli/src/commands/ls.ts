// `waitless ls`: operations, newest first.
import type { ListFilters, Operation, OperationStatus } from '@waitless/client';
import { operationStatuses } from '@waitless/protocol';
import { InvalidArgumentError, Option } from 'commander';
import { collectLabel, type CommandModule, examples, jsonOption, labelsOf, wholeArgument } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions, connectionWords } from '../connection.ts';
import { commandLine, plain, span } from '../text.ts';

interface Options extends ConnectionOptions {
  service?: string;
  status?: OperationStatus[];
  correlationId?: string;
  key?: string;
  label?: string[];
  createdAfter?: string;
  createdBefore?: string;
  limit: number;
  cursor?: string;
  json?: boolean;
}

/** The most a page holds on the wire. */
const pageSize = 1_000;

export const ls: CommandModule = {
  name: 'ls',
  summary: 'list operations, newest first',
  define(command, context) {
    examples(command, [
      'npx waitless ls',
      'npx waitless ls --service score --status queued,running',
      'npx waitless ls --service score --key 42',
      'npx waitless ls --label customer=42 --limit 100 --json',
    ]);
    addConnectionOptions(
      command
        .option('--service <NAME>', 'of this service')
        .addOption(
          new Option('--status <STATES>', `${operationStatuses.join(', ')}; several with commas`).argParser(
            statusArgument,
          ),
        )
        .option('--correlation-id <ID>', 'with this correlation id')
        .option('--key <KEY>', 'of this business key, as `get` shows it')
        .addOption(
          new Option(
            '--label <NAME=VALUE>',
            'with this label; may be repeated, for those that have them all',
          ).argParser(collectLabel),
        )
        .addOption(new Option('--created-after <TIME>', 'such as 2026-01-31T12:00:00Z').argParser(timeArgument))
        .addOption(new Option('--created-before <TIME>', 'such as 2026-01-31T12:00:00Z').argParser(timeArgument))
        .addOption(new Option('--limit <N>', 'how many').default(20).argParser(wholeArgument(1, 1_000_000)))
        .option('--cursor <CURSOR>', 'go on where a list before ended')
        .addOption(jsonOption('print {"items": […], "next": …}')),
    );
    command.action(async (options: Options) => {
      const { terminal, output } = context;
      const client = await connect(options, terminal);
      const { service, status, correlationId, key, createdAfter, createdBefore } = options;
      const filters: ListFilters = {
        service,
        status,
        correlationId,
        key,
        createdAfter,
        createdBefore,
        labels: labelsOf(options.label),
      };
      const items: Operation[] = [];
      let next: string | null = options.cursor ?? null;
      do {
        const page = await client.list({
          ...filters,
          limit: Math.min(pageSize, options.limit - items.length),
          cursor: next ?? undefined,
        });
        items.push(...page.items);
        next = page.next;
      } while (next !== null && items.length < options.limit);
      if (options.json) return output.json({ items, next });
      if (items.length === 0 && output.attended) return output.note('No operations.');
      const now = terminal.now();
      output.table<Operation>(
        [
          { title: 'ID', text: (one) => one.id },
          { title: 'SERVICE', text: (one) => one.service },
          { title: 'STATUS', text: (one) => one.status, colour: (one, text) => output.status(one.status, text) },
          {
            title: 'CREATED',
            text: (one) => one.createdAt,
            person: (one) => `${span(now - Date.parse(one.createdAt))} ago`,
          },
          { title: 'TOOK', text: tookMs, person: (one) => (one.finishedAt === null ? '' : span(Number(tookMs(one)))) },
          { title: 'ATTEMPT', text: (one) => `${one.attempt}/${one.maxAttempts}` },
          { title: 'DETAIL', text: detail },
        ],
        items,
      );
      if (next !== null && output.attended)
        output.note(output.err.dim(`There are more: ${commandLine(...again(options), '--cursor', next)}`));
    });
  },
};

const tookMs = (one: Operation): string =>
  one.finishedAt === null ? '' : String(Date.parse(one.finishedAt) - Date.parse(one.createdAt));

function detail({ error, progress, done, labels }: Operation): string {
  if (error !== null) return plain(`${error.code}: ${error.message}`);
  const percent = progress?.percent === undefined ? undefined : `${Math.round(progress.percent)} %`;
  const parts = done ? [] : [percent, progress?.stage, progress?.message];
  return [...parts.filter(Boolean), ...Object.entries(labels).map(([name, value]) => `${name}=${value}`)].join(' ');
}

/** The words of this list, to go on with it. */
function again(options: Options): string[] {
  const words = ['ls'];
  if (options.service !== undefined) words.push('--service', options.service);
  if (options.status !== undefined) words.push('--status', options.status.join(','));
  if (options.correlationId !== undefined) words.push('--correlation-id', options.correlationId);
  if (options.key !== undefined) words.push('--key', options.key);
  for (const label of options.label ?? []) words.push('--label', label);
  if (options.createdAfter !== undefined) words.push('--created-after', options.createdAfter);
  if (options.createdBefore !== undefined) words.push('--created-before', options.createdBefore);
  return [...words, '--limit', String(options.limit), ...connectionWords(options)];
}

function statusArgument(value: string): OperationStatus[] {
  const states = value.split(',').map((state) => state.trim());
  for (const state of states)
    if (!(operationStatuses as readonly string[]).includes(state))
      throw new InvalidArgumentError(`There is no state "${plain(state)}"; there are ${operationStatuses.join(', ')}.`);
  return states as OperationStatus[];
}

function timeArgument(value: string): string {
  if (!/^\d{4}-\d\d-\d\d([T ][\d:.]+(Z|[+-]\d\d:\d\d))?$/i.test(value) || Number.isNaN(Date.parse(value)))
    throw new InvalidArgumentError('It takes a time such as 2026-01-31T12:00:00Z or a day such as 2026-01-31.');
  return new Date(value).toISOString();
}
