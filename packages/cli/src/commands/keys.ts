// `waitless keys new`: an API key, shown once, and the line for the server's key file, which holds its hash alone.
import { hash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { isName } from '@waitless/protocol';
import { Argument, InvalidArgumentError, Option } from 'commander';
import { type CommandContext, type CommandModule, examples, jsonOption } from '../command.ts';
import { exitCodes, Failure, systemSentence } from '../failure.ts';
import { shellWord } from '../text.ts';

interface Options {
  name: string;
  namespace: string;
  append?: string;
  json?: boolean;
}

/** Nobody guesses 256 bits; the prefix lets people and secret scanners see what it is. */
const newKey = (): string => `wl_${randomBytes(32).toString('base64url')}`;

export const keys: CommandModule = {
  name: 'keys',
  summary: 'make an API key: `keys new`',
  define(command, context) {
    examples(command, [
      'npx waitless keys new --name billing --namespace default',
      'npx waitless keys new --name billing --append waitless.keys > billing.key',
      'npx waitless serve --target score=http://127.0.0.1:9001 --api-key-file waitless.keys',
      'npx waitless ls --api-key-file billing.key',
    ]);
    command
      .addArgument(new Argument('<WHAT>', 'new').choices(['new']))
      .addOption(
        new Option('--name <NAME>', "whose key it is, for the server's log").default('default').argParser(nameArgument),
      )
      .addOption(
        new Option('--namespace <NAMESPACE>', 'whoever has a key sees the operations of its namespace alone')
          .default('default')
          .argParser(nameArgument),
      )
      .option('--append <FILE>', 'add the line to this key file, and print the key alone')
      .addOption(jsonOption());
    command.addHelpText(
      'after',
      '\nThe key is printed once and kept nowhere: the key file has its SHA-256. A server reads the file when it starts.',
    );
    command.action(async (_: string, options: Options) => make(options, context));
  },
};

async function make({ name, namespace, append, json }: Options, { terminal, output }: CommandContext): Promise<void> {
  const key = newKey();
  const line = `${name} ${namespace} ${hash('sha256', key)}`;
  if (append !== undefined) await appendLine(resolve(terminal.cwd, append), append, line);
  if (json) return output.json({ key, line, name, namespace });
  output.line(key);
  if (append === undefined) output.line(line);
  if (!output.attended) return;
  const note = (text: string): void => output.note(output.err.dim(text));
  note('');
  note('The key stands above, and nowhere else from now on: commands take it as WAITLESS_API_KEY, programs as');
  note('  Authorization: Bearer KEY');
  const file = append ?? 'waitless.keys';
  if (append === undefined) note(`The line below it goes into the server's key file, such as ${file}; then start`);
  else note(`Its line is in ${file}. A server takes it when it starts:`);
  note(`  npx waitless serve --api-key-file ${shellWord(file)} …`);
}

/** Adds a line to a key file, which is made where there is none, and to nothing else. */
async function appendLine(path: string, name: string, line: string): Promise<void> {
  try {
    const file = await open(path, constants.O_RDWR | constants.O_APPEND | constants.O_CREAT, 0o600);
    try {
      const before = await file.readFile('utf8');
      // Any other file would be spoilt by a line of ours.
      const other = before
        .replace(/^\uFEFF/, '')
        .split(/\r\n|\r|\n/)
        .some((one) => !/^\s*(?:#.*|\S+[ \t]+\S+[ \t]+[0-9a-f]{64}\s*)?$/i.test(one));
      if (other)
        throw new Failure(
          `--append: ${name} is no key file, and nothing was added to it; name another one, or one that is not there yet.`,
          exitCodes.configuration,
        );
      await file.appendFile(`${before === '' || /[\r\n]$/.test(before) ? '' : '\n'}${line}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(`--append: ${systemSentence(error as NodeJS.ErrnoException)}`, exitCodes.configuration);
  }
}

function nameArgument(value: string): string {
  if (!isName(value))
    throw new InvalidArgumentError('It begins with a letter or digit and goes on with letters, digits, "_" and "-".');
  return value;
}
