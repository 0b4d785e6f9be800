// `waitless result`: the backend's answer, exactly as it came.
import { type CommandModule, examples, jsonOption, waitOption } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions, connectionWords } from '../connection.ts';
import { Failure } from '../failure.ts';
import { followToResult } from '../follow.ts';
import { describe } from '../progress.ts';
import { commandLine } from '../text.ts';
import { writeResult } from '../write-result.ts';

interface Options extends ConnectionOptions {
  wait?: number;
  output?: string;
  include?: boolean;
  json?: boolean;
}

export const result: CommandModule = {
  name: 'result',
  summary: "print an operation's result, byte for byte",
  define(command, context) {
    examples(command, [
      'npx waitless result ID',
      'npx waitless result ID --wait',
      'npx waitless result ID --wait 30 -o report.pdf',
      'npx waitless result ID -i',
    ]);
    addConnectionOptions(
      command
        .argument('<ID>', 'id of the operation')
        .addOption(waitOption())
        .option('-o, --output <FILE>', 'write to a file instead of stdout')
        .option('-i, --include', "the backend's status line and headers first")
        .addOption(jsonOption('print status, headers and body as one JSON document')),
    );
    command.addHelpText(
      'after',
      '\nExit codes: 0 succeeded, 1 failed or not there yet. The answer of a failed operation is printed all the same.',
    );
    command.action(async (id: string, options: Options) => {
      const client = await connect(options, context.terminal);
      const comeBack = ['result', id, '--wait', ...connectionWords(options)];
      const format = { ...options, file: options.output };
      // What is there already needs no watching.
      const outcome =
        options.wait === undefined
          ? await client.result(id)
          : await followToResult({ client, id, waitMs: options.wait, connection: connectionWords(options) }, context);
      if (outcome.kind === 'pending')
        throw new Failure(
          `there is no result yet (${describe(outcome.operation, context.terminal.now())}). To wait for it: ${commandLine(...comeBack)}`,
        );
      context.exit(await writeResult(outcome, format, context));
    });
  },
};
