// `waitless watch`: one line for every change of one or several operations, until all have ended.
import type { Operation, WaitlessClient } from '@waitless/client';
import { type CommandContext, type CommandModule, examples, jsonOption } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions } from '../connection.ts';
import { exitCodes, explain } from '../failure.ts';
import { describe } from '../progress.ts';
import { plain } from '../text.ts';

interface Options extends ConnectionOptions {
  json?: boolean;
}

export const watch: CommandModule = {
  name: 'watch',
  summary: 'follow operations, a line for every change, until all have ended',
  define(command, context) {
    examples(command, ['npx waitless watch ID', 'npx waitless watch ID1 ID2 --json | jq .progress']);
    addConnectionOptions(
      command.argument('<ID...>', 'ids of operations').addOption(jsonOption('print every state as one line of JSON')),
    );
    command.addHelpText('after', '\nExit codes: 0 all succeeded, 1 otherwise. A server that restarts is waited for.');
    command.action(async (ids: string[], options: Options) => {
      const client = await connect(options, context.terminal);
      const succeeded = await Promise.all([...new Set(ids)].map((id) => follow(client, id, options, context)));
      context.exit(succeeded.every(Boolean) ? exitCodes.success : exitCodes.failure);
    });
  },
};

async function follow(
  client: WaitlessClient,
  id: string,
  options: Options,
  { terminal, output }: CommandContext,
): Promise<boolean> {
  let status: Operation['status'] | undefined;
  let told = '';
  try {
    const onRetry = (error: Error): void => {
      const text = `waitless: ${plain(error.message)} Trying again.`;
      if (text !== told) output.note(text);
      told = text;
    };
    for await (const operation of client.watch(id, { onRetry })) {
      told = '';
      status = operation.status;
      if (options.json) output.ndjson(operation);
      else output.line(lineOf(operation, terminal.now(), output));
    }
  } catch (error) {
    output.note(`${output.err.red('waitless:')} ${id}: ${explain(error).sentence}`);
  }
  return status === 'succeeded';
}

function lineOf(operation: Operation, now: number, output: CommandContext['output']): string {
  const percent = operation.progress?.percent;
  const error = operation.error === null ? '' : `  ${plain(`${operation.error.code}: ${operation.error.message}`)}`;
  const text = `${describe(operation, now)}${percent === undefined || operation.done ? '' : `, ${Math.round(percent)} %`}`;
  return `${output.out.dim(operation.updatedAt)}  ${operation.id}  ${output.status(operation.status, text)}${error}`;
}
