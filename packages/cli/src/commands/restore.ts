// `waitless restore`: makes a data folder of a backup, for a server to start on.
import { resolve } from 'node:path';
import type { Restored } from '@waitless/server';
import { Option } from 'commander';
import { type CommandModule, examples, jsonOption } from '../command.ts';
import { exitCodes, Failure } from '../failure.ts';
import { storeFailure } from '../store-failure.ts';
import { shellWord, shownBytes } from '../text.ts';

export const restore: CommandModule = {
  name: 'restore',
  summary: 'make a data folder of a backup',
  define(command, context) {
    examples(command, ['npx waitless restore waitless-2026-01-31T12-30-00-250Z.db --data ./waitless-data']);
    command
      .argument('<FILE>', 'what waitless backup has written; it is only read')
      .addOption(new Option('--data <DIR>', 'folder of the store to be; it must not have one').makeOptionMandatory())
      .addOption(jsonOption('print {"data": …, "bytes": …, "lastWrittenAt": …}'));
    command.addHelpText(
      'after',
      '\nExit codes: 0 restored, 1 the file cannot be restored, 78 the folder cannot take it.',
    );
    command.action(async (file: string, options: { data: string; json?: boolean }) => {
      const { output, terminal } = context;
      if (options.data === ':memory:' || /^[a-z][a-z0-9+.-]*:\/\//i.test(options.data))
        throw new Failure(
          '--data: a backup is restored into a folder; what a PostgreSQL store was dumped to is restored with pg_restore.',
          exitCodes.configuration,
        );
      const data = resolve(terminal.cwd, options.data);
      const { restoreStore } = await import('@waitless/server');
      let restored: Restored;
      try {
        restored = await restoreStore({ file: resolve(terminal.cwd, file), data, nowMs: terminal.now() });
      } catch (error) {
        throw storeFailure(error, file);
      }
      const { bytes, lastTimeMs, warnings } = restored;
      const lastWrittenAt = lastTimeMs === 0 ? null : new Date(lastTimeMs).toISOString();
      if (options.json) output.json({ data, bytes, lastWrittenAt, warnings });
      else
        output.line(`${data}: ${shownBytes(bytes)}${lastWrittenAt === null ? '' : `, as it was at ${lastWrittenAt}`}`);
      for (const warning of warnings) output.note(output.err.yellow(warning));
      if (output.attended) output.note(output.err.dim(`Start with: npx waitless serve --data ${shellWord(data)}`));
    });
  },
};
