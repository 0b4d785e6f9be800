// The options of a server on the command line, made from the server's own table, so that help and behaviour cannot drift apart.
import type { optionTable, unbuiltOptions } from '@waitless/server';
import { type Command, Option } from 'commander';
import { collect } from './command.ts';

type OptionTable = typeof optionTable;

/** Adds every option of the table but those in `without`. Values stay text: the server's configuration checks them and names the field. */
export function addServerOptions(
  command: Command,
  { table, unbuilt }: { table: OptionTable; unbuilt: typeof unbuiltOptions },
  without: readonly string[] = [],
): void {
  // Taken so that the configuration can say that they are not built yet; not shown, since they do nothing.
  for (const { flag } of unbuilt) command.addOption(new Option(`${flag} <value>`).argParser(collect).hideHelp());

  for (const { name, flag, argument, list, default: value, help } of table) {
    if (without.includes(name)) continue;
    const option = new Option(
      argument === undefined ? flag : `${flag} <${argument}>`,
      `${help}${value === undefined || argument === undefined ? '' : ` (default: ${value})`}`,
    );
    if (list) option.argParser(collect);
    command.addOption(option);
  }
  const example = table.find((option) => option.name === 'port')!;
  command.addHelpText(
    'after',
    `\nOptions that may be given several times: ${table
      .filter((option) => option.list && !without.includes(option.name))
      .map((option) => option.flag)
      .join(', ')}.
Every option is also an environment variable (${example.env} for ${example.flag}) and a field of the config file, those about one service in its own fields.
Flags win over the environment, the environment over the file, the file over defaults.
Exit codes: 0 stopped by a signal, 2 wrong usage, 78 bad configuration, 1 failure.`,
  );
}
