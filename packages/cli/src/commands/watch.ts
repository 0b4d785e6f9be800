// `waitless watch`: one line for every change of one or several operations, until all have ended; below them on a terminal how far it is.
import type { Operation, WaitlessClient } from '@waitless/client';
import { type CommandContext, type CommandModule, examples, jsonOption } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions, connectionWords } from '../connection.ts';
import { exitCodes, explain, Failure } from '../failure.ts';
import { createProgress, describe, describeWithPercent, isLive } from '../progress.ts';
import { commandLine, plain } from '../text.ts';

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
    command.addHelpText(
      'after',
      '\nExit codes: 0 all succeeded, 1 otherwise, 130 after Ctrl-C. A server that restarts is waited for.',
    );
    command.action(async (ids: string[], options: Options) => {
      const client = await connect(options, context.terminal);
      const different = [...new Set(ids)];
      const show = shower(context, { json: options.json === true, one: different.length === 1 });
      const stop = new AbortController();
      const unhear = context.terminal.onSignal(['SIGINT'], () =>
        stop.abort(
          new Failure(
            `what was watched goes on without you. Come back with: ${commandLine('watch', ...different, ...connectionWords(options))}`,
            exitCodes.interrupted,
          ),
        ),
      );
      try {
        const { signal } = stop;
        const succeeded = await Promise.all(different.map((id) => follow(client, id, { show, signal, context })));
        context.exit(succeeded.every(Boolean) ? exitCodes.success : exitCodes.failure);
      } finally {
        show.end();
        unhear();
      }
    });
  },
};

interface Shower {
  state: (operation: Operation) => void;
  trouble: (sentence: string) => void;
  end: () => void;
}

/** One operation on a terminal has a live line with its bar, and leaves a line for each step; otherwise every change is a line. */
function shower({ terminal, output }: CommandContext, { json, one }: { json: boolean; one: boolean }): Shower {
  const note = (sentence: string): void => output.note(`waitless: ${sentence}`);
  if (json) return { state: output.ndjson, trouble: note, end: () => undefined };
  const lineOf = (operation: Operation, text: string): string => {
    const error = operation.error === null ? '' : `  ${plain(`${operation.error.code}: ${operation.error.message}`)}`;
    return `${output.out.dim(operation.updatedAt)}  ${operation.id}  ${output.status(operation.status, text)}${error}`;
  };
  if (!one || !output.person || !isLive(terminal, output))
    return {
      state: (operation) => output.line(lineOf(operation, describeWithPercent(operation, terminal.now()))),
      trouble: note,
      end: () => undefined,
    };
  const progress = createProgress(terminal, output);
  let step = '';
  return {
    state(operation) {
      const text = describe(operation, terminal.now());
      progress.show(operation);
      if (text !== step) progress.leave(lineOf(operation, text));
      step = text;
    },
    trouble: progress.trouble,
    end: progress.end,
  };
}

async function follow(
  client: WaitlessClient,
  id: string,
  { show, signal, context }: { show: Shower; signal: AbortSignal; context: CommandContext },
): Promise<boolean> {
  const { output } = context;
  let status: Operation['status'] | undefined;
  let told = '';
  try {
    const onRetry = (error: Error): void => {
      const text = `${plain(error.message)} Trying again.`;
      if (text !== told) show.trouble(text);
      told = text;
    };
    for await (const operation of client.watch(id, { onRetry, signal })) {
      told = '';
      status = operation.status;
      show.state(operation);
    }
  } catch (error) {
    signal.throwIfAborted();
    output.note(`${output.err.red('waitless:')} ${id}: ${explain(error).sentence}`);
  }
  return status === 'succeeded';
}
