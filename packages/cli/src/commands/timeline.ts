// `waitless timeline`: what happened to an operation, with times.
import type { TimelineEntry } from '@waitless/client';
import { type CommandModule, examples, jsonOption } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions } from '../connection.ts';
import { span } from '../text.ts';

interface Options extends ConnectionOptions {
  json?: boolean;
}

export const timeline: CommandModule = {
  name: 'timeline',
  summary: 'show attempts, waits and progress of an operation with their times',
  define(command, context) {
    examples(command, ['npx waitless timeline ID', 'npx waitless timeline ID --json']);
    addConnectionOptions(
      command.argument('<ID>', 'id of the operation').addOption(jsonOption('print the entries, one a line')),
    );
    command.action(async (id: string, options: Options) => {
      const { terminal, output } = context;
      const client = await connect(options, terminal);
      // An attempt is recorded when it ends, and is shown where it began.
      const entries = (await client.timeline(id)).toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at));
      if (options.json) {
        for (const entry of entries) output.ndjson(entry);
        return;
      }
      const start = Date.parse(entries[0]?.at ?? '');
      output.table<TimelineEntry>(
        [
          { title: 'TIME', text: (entry) => entry.at },
          {
            title: 'AFTER',
            text: (entry) => String(Date.parse(entry.at) - start),
            person: (entry) => span(Date.parse(entry.at) - start),
            right: true,
          },
          { title: 'WHAT', text: what },
          {
            title: 'TOOK',
            text: tookMs,
            person: (entry) => (tookMs(entry) === '' ? '' : span(Number(tookMs(entry)))),
            right: true,
          },
          { title: 'DETAIL', text: detail },
        ],
        entries,
      );
    });
  },
};

const tookMs = ({ at, endedAt }: TimelineEntry): string =>
  endedAt ? String(Date.parse(endedAt) - Date.parse(at)) : '';

function what({ type, attempt, status }: TimelineEntry): string {
  if (type === 'attempt') return `attempt ${attempt ?? ''}`.trim();
  if (type === 'delivery') return 'callback';
  return type === 'finished' && status !== undefined ? status : type;
}

function detail(entry: TimelineEntry): string {
  const percent = entry.progress?.percent === undefined ? undefined : `${Math.round(entry.progress.percent)} %`;
  const parts = [
    entry.worker ? `worker ${entry.worker}` : undefined,
    entry.outcome,
    entry.backendStatus ? `backend answered ${entry.backendStatus}` : undefined,
    percent,
    entry.progress?.stage,
    entry.progress?.message,
    entry.detail,
    entry.nextAt ? `next at ${entry.nextAt}` : undefined,
  ];
  return parts.filter(Boolean).join(', ');
}
