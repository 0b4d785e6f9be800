// The `waitless` command: picks the command that was typed, runs it, and turns whatever goes wrong into one sentence and an exit code.
import { Command, CommanderError } from 'commander';
import { type CommandContext, type CommandModule, settleOptionalWait } from './command.ts';
import { backup } from './commands/backup.ts';
import { bench } from './commands/bench.ts';
import { cancel } from './commands/cancel.ts';
import { consume } from './commands/consume.ts';
import { deadLetters } from './commands/dead-letters.ts';
import { dev } from './commands/dev.ts';
import { doctor } from './commands/doctor.ts';
import { get } from './commands/get.ts';
import { keys } from './commands/keys.ts';
import { listen } from './commands/listen.ts';
import { ls } from './commands/ls.ts';
import { publish } from './commands/publish.ts';
import { purge } from './commands/purge.ts';
import { redrive } from './commands/redrive.ts';
import { restore } from './commands/restore.ts';
import { result } from './commands/result.ts';
import { secrets } from './commands/secrets.ts';
import { serve } from './commands/serve.ts';
import { services } from './commands/services.ts';
import { submit } from './commands/submit.ts';
import { subscriptions } from './commands/subscriptions.ts';
import { tail } from './commands/tail.ts';
import { timeline } from './commands/timeline.ts';
import { watch } from './commands/watch.ts';
import { worker } from './commands/worker.ts';
import { exitCodes, explain, wrongUsage } from './failure.ts';
import { createOutput } from './output.ts';
import { endQuietlyOnClosedPipe, processTerminal, type Terminal } from './terminal.ts';
import { withoutPasswords } from './text.ts';
import { version } from './version.ts';

const commands: readonly CommandModule[] = [
  dev,
  serve,
  submit,
  result,
  watch,
  get,
  ls,
  timeline,
  cancel,
  services,
  worker,
  publish,
  tail,
  subscriptions,
  consume,
  deadLetters,
  redrive,
  purge,
  backup,
  restore,
  keys,
  secrets,
  listen,
  doctor,
  bench,
];

/**
 * Runs one command. `argv` is what stands after `waitless`. Resolves with the exit code: 0 success, 1 failure, 2 wrong
 * usage, 78 bad configuration, 130 interrupted; never rejects. Without a terminal of its own it takes the process's
 * and sets `process.exitCode`, so that output still on its way to a pipe is not cut off by an early exit.
 */
export async function main(argv: readonly string[], terminal?: Terminal): Promise<number> {
  if (terminal !== undefined) return run(argv, terminal);
  endQuietlyOnClosedPipe();
  const code = await run(argv, processTerminal);
  process.exitCode = code;
  return code;
}

async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
  const output = createOutput(terminal);
  let exitCode: number = exitCodes.success;
  const context: CommandContext = { terminal, output, exit: (code) => (exitCode = code) };
  const program = createProgram(context);
  // `help submit` is `submit --help`, so that a typing error in it gets the same answer as anywhere else.
  let words = argv[0] === 'help' && argv.length > 1 ? [...argv.slice(1), '--help'] : [...argv];
  const [name = ''] = words;
  const known = commands.some((module) => module.name === name);
  try {
    if (name.startsWith('-') && words.length > 1 && commands.some((module) => words.includes(module.name)))
      throw wrongUsage(`options come after the command, as in: npx waitless ls ${name} …`);
    // Without this, `--help` behind a mistyped command would print the help of another one.
    if (!known && !name.startsWith('-')) words = words.slice(0, 1);
    for (const module of commands) {
      const command = program
        .command(module.name)
        .summary(module.summary)
        .description(`${module.summary[0]!.toUpperCase()}${module.summary.slice(1)}.`);
      if (module.name !== name) continue;
      await module.define(command, context);
      words = settleOptionalWait(command, words);
    }
    if (words.length === 0) program.outputHelp();
    else await program.parseAsync(words, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.success;
    const { sentence, hint, exitCode: code } = explain(error);
    output.note(`${output.err.red('waitless:')} ${withoutPasswords(sentence)}`);
    if (hint !== undefined) output.note(output.err.dim(hint));
    if (error instanceof CommanderError)
      output.note(output.err.dim(`See: ${['npx waitless', ...(known ? [name] : []), '--help'].join(' ')}`));
    return code;
  }
}

function createProgram({ terminal, output }: CommandContext): Command {
  const width = (stream: { columns?: number | undefined }): number =>
    Math.max(60, Math.min(stream.columns ?? 100, 120));
  return new Command('waitless')
    .description('Put it in front of a slow HTTP API and get an asynchronous one.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [COMMAND]', 'print help of a command')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
      // Told by `explain` in one sentence.
      outputError: () => undefined,
      getOutHelpWidth: () => width(terminal.stdout),
      getErrHelpWidth: () => width(terminal.stderr),
      getOutHasColors: () => output.out.isColorSupported,
      getErrHasColors: () => output.err.isColorSupported,
    })
    .addHelpText(
      'before',
      `Examples:
  npx waitless dev                                              a server to play with, and what to type next
  npx waitless serve --target score=http://127.0.0.1:9001       in front of your own slow API
  npx waitless submit score -d '{"customerId":"42"}' --wait     hand a request over and wait for the result
  npx waitless ls --status running                              what is going on
  npx waitless tail 'orders.**'                                 follow events as they happen
`,
    );
}
