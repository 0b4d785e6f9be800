// `waitless cancel`: ends operations that are not wanted any more, or forgets ended ones.
import { type CommandModule, examples, jsonOption } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions } from '../connection.ts';
import { exitCodes, explain } from '../failure.ts';

interface Options extends ConnectionOptions {
  purge?: boolean;
  json?: boolean;
}

export const cancel: CommandModule = {
  name: 'cancel',
  summary: 'cancel operations; with --purge forget them',
  define(command, context) {
    examples(command, [
      'npx waitless cancel ID',
      'npx waitless ls --status queued --limit 100 | cut -f1 | xargs npx waitless cancel',
      'npx waitless cancel ID --purge',
    ]);
    addConnectionOptions(
      command
        .argument('<ID...>', 'ids of operations')
        .option('--purge', 'forget a finished operation with its result')
        .addOption(jsonOption('print the status documents, one a line')),
    );
    command.action(async (ids: string[], options: Options) => {
      const { terminal, output } = context;
      const client = await connect(options, terminal);
      // One after another: whoever cancels a thousand at once has no hurry that would be worth a thousand connections.
      for (const id of new Set(ids)) {
        try {
          const operation = await client.cancel(id, { purge: options.purge });
          if (options.json) output.ndjson(operation ?? { id, purged: true });
          else if (operation === undefined) output.line(`${id}  forgotten`);
          else
            output.line(
              `${id}  ${output.status(operation.status)}${operation.done && operation.status !== 'cancelled' ? ': it had ended before' : ''}`,
            );
        } catch (error) {
          const { sentence } = explain(error);
          output.note(`${output.err.red('waitless:')} ${id}: ${sentence}`);
          context.exit(exitCodes.failure);
        }
      }
    });
  },
};
