// `waitless get`: what is known about one operation.
import type { Operation } from '@waitless/client';
import { type CommandContext, type CommandModule, examples, jsonOption } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions } from '../connection.ts';
import { plain, span } from '../text.ts';

interface Options extends ConnectionOptions {
  json?: boolean;
}

export const get: CommandModule = {
  name: 'get',
  summary: 'show the state of an operation',
  define(command, context) {
    examples(command, ['npx waitless get ID', 'npx waitless get ID --json']);
    addConnectionOptions(
      command.argument('<ID>', 'id of the operation').addOption(jsonOption('print the status document')),
    );
    command.action(async (id: string, options: Options) => {
      const client = await connect(options, context.terminal);
      const { operation } = await client.get(id);
      if (options.json) context.output.json(operation);
      else print(operation, context);
    });
  },
};

function print(operation: Operation, { terminal, output }: CommandContext): void {
  const now = terminal.now();
  const at = (time: string | null): string | undefined => {
    if (time === null) return undefined;
    const ms = Date.parse(time) - now;
    return `${time} ${output.out.dim(ms > 0 ? `(in ${span(ms)})` : `(${span(-ms)} ago)`)}`;
  };
  const { progress, error } = operation;
  const labels = Object.entries(operation.labels).map(([name, value]) => `${name}=${value}`);
  const percent = progress?.percent === undefined ? '' : `${Math.round(progress.percent)} %`;
  const rows: [string, string | undefined][] = [
    ['operation', operation.id],
    ['service', operation.service],
    ['status', output.status(operation.status)],
    ['error', error === null ? undefined : plain(`${error.code}: ${error.message}`)],
    [
      'progress',
      progress === null ? undefined : plain([percent, progress.stage, progress.message].filter(Boolean).join('  ')),
    ],
    ['key', operation.key === null ? undefined : plain(operation.key)],
    ['queue', operation.queuePosition === null ? undefined : `${operation.queuePosition} ahead`],
    ['expected', operation.done ? undefined : at(operation.estimatedCompletionAt)],
    ['attempt', operation.attempt === 0 ? undefined : `${operation.attempt} of ${operation.maxAttempts}`],
    ['correlation', operation.correlationId === operation.id ? undefined : plain(operation.correlationId)],
    ['labels', labels.length === 0 ? undefined : plain(labels.join(', '))],
    ['created', at(operation.createdAt)],
    ['starts', operation.status === 'queued' ? at(operation.runAt) : undefined],
    ['started', at(operation.startedAt)],
    ['finished', at(operation.finishedAt)],
    ['deadline', operation.done ? undefined : at(operation.deadline)],
    ['kept until', at(operation.expiresAt)],
    ['result', operation.resourceLocation],
  ];
  for (const [name, text] of rows) if (text !== undefined) output.line(`${output.out.dim(name.padEnd(12))}${text}`);
}
