// `waitless purge`: forgets what is stored under a business key, so that the next request computes it anew.
import { type CommandModule, examples, jsonOption } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions } from '../connection.ts';
import { exitCodes } from '../failure.ts';
import { plain } from '../text.ts';

interface Options extends ConnectionOptions {
  json?: boolean;
}

export const purge: CommandModule = {
  name: 'purge',
  summary: 'forget the stored result of a business key',
  define(command, context) {
    examples(command, [
      'npx waitless purge score 42',
      'npx waitless purge prices eu 2026-11-21   # a key of two parts, in the order of its rules',
    ]);
    addConnectionOptions(
      command
        .argument('<SERVICE>', 'name of the service')
        .argument('<KEY...>', 'the business key, such as a customer id; each part of one that has several')
        .addOption(jsonOption()),
    );
    command.addHelpText('after', '\nExit codes: 0 forgotten, 1 nothing was stored under the key, or failure.');
    command.action(async (service: string, parts: string[], options: Options) => {
      const { terminal, output } = context;
      const client = await connect(options, terminal);
      const key = plain(parts.join(', '));
      const purged = await client.purgeKey(service, parts).then(
        () => true,
        (error: { code?: string }) => {
          // A service that does not exist is another code, and an error.
          if (error.code === 'not-found') return false;
          throw error;
        },
      );
      if (options.json) output.json({ service, key: parts, purged });
      else if (purged) output.line(`${service} ${key}  forgotten`);
      else output.note(`Nothing is stored for ${service} under the key ${key}.`);
      if (!purged) context.exit(exitCodes.failure);
    });
  },
};
