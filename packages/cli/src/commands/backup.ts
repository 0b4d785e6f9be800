// `waitless backup`: asks a server for a copy of its store, or makes one of a store that no server works on.
import { resolve } from 'node:path';
import cliProgress from 'cli-progress';
import { Option } from 'commander';
import { type CommandContext, type CommandModule, examples, jsonOption } from '../command.ts';
import { addConnectionOptions, type Connection, connection, type ConnectionOptions } from '../connection.ts';
import { exchange } from '../exchange.ts';
import { Failure, wrongUsage } from '../failure.ts';
import { storeFailure } from '../store-failure.ts';
import { plain, shownBytes } from '../text.ts';

interface Options extends ConnectionOptions {
  json?: boolean;
  data?: string;
  to?: string;
}

interface Backup {
  state: 'running' | 'done' | 'failed';
  file: string | null;
  bytes: number | null;
  startedAt: string;
  createdAt: string | null;
  copiedBytes: number;
  totalBytes: number | null;
  error: { code: string; message: string } | null;
}

const path = '/v1/backup';
const lookEveryMs = 250;

export const backup: CommandModule = {
  name: 'backup',
  summary: 'write a copy of the store, while the server works',
  define(command, context) {
    examples(command, [
      'npx waitless backup',
      'npx waitless backup --url https://jobs.example.com --json',
      'npx waitless backup --data ./waitless-data --to before-upgrade.db    # no server works on it',
    ]);
    addConnectionOptions(
      command
        .addOption(new Option('--data <DIR>', 'folder of a store that no server works on; with --to'))
        .addOption(new Option('--to <FILE>', 'where the copy of that store goes'))
        .addOption(jsonOption('print {"file": …, "bytes": …, "createdAt": …}')),
    );
    command.addHelpText(
      'after',
      '\nA server writes to its --backup-folder, on its own side: the copy holds what all namespaces have. `waitless restore` puts it back.',
    );
    command.action(async (options: Options) => {
      const { output, terminal } = context;
      if ((options.data === undefined) !== (options.to === undefined))
        throw wrongUsage('--data and --to belong together: the folder of the store, and where its copy goes.');
      const made =
        options.data === undefined
          ? await askServer(await connection(options, terminal), context)
          : await copyStopped({ data: resolve(terminal.cwd, options.data), to: resolve(terminal.cwd, options.to!) });
      if (options.json) return output.json(made);
      output.line(made.file);
      if (output.attended) output.note(output.err.dim(`${shownBytes(made.bytes)}, looked at and synced.`));
    });
  },
};

interface Made {
  file: string;
  bytes: number;
  createdAt: string;
}

async function copyStopped({ data, to }: { data: string; to: string }): Promise<Made> {
  const { copyStoppedStore } = await import('@waitless/server');
  try {
    const { bytes } = await copyStoppedStore({ data, to });
    return { file: to, bytes, createdAt: new Date().toISOString() };
  } catch (error) {
    throw storeFailure(error, to);
  }
}

/** Asks, then looks now and then how far it is: a large store takes longer than proxies hold a request. */
async function askServer(server: Connection, context: CommandContext): Promise<Made> {
  const bar = progressBar(context);
  try {
    let state = await exchange<Backup>(server, { method: 'POST', path, headers: { Prefer: 'wait=0' } });
    const { startedAt } = state;
    while (state.state === 'running') {
      bar.show(state);
      await new Promise((goOn) => setTimeout(goOn, lookEveryMs));
      state = await exchange<Backup>(server, { method: 'GET', path });
      if (state.startedAt !== startedAt)
        throw new Failure('another backup has begun meanwhile; look at it with GET /v1/backup.');
    }
    if (state.error) throw new Failure(plain(state.error.message));
    return { file: state.file!, bytes: state.bytes!, createdAt: state.createdAt! };
  } finally {
    bar.end();
  }
}

/** For a person at a terminal; nothing elsewhere. */
function progressBar({ terminal, output }: CommandContext): { show: (state: Backup) => void; end: () => void } {
  if (!output.attended || terminal.env['TERM'] === 'dumb') return { show: () => undefined, end: () => undefined };
  const bar = new cliProgress.SingleBar(
    {
      stream: terminal.stderr,
      hideCursor: true,
      clearOnComplete: true,
      linewrap: false,
      barsize: 24,
      format: (options, { progress }, { text }: { text: string }) =>
        `${cliProgress.Format.BarFormat(progress, options)}  ${text}`,
    },
    cliProgress.Presets.shades_classic,
  );
  bar.start(100, 0, { text: 'copying' });
  return {
    show({ copiedBytes, totalBytes }) {
      const isCopied = totalBytes !== null && copiedBytes >= totalBytes;
      bar.update(totalBytes ? (100 * copiedBytes) / totalBytes : 0, {
        text: isCopied ? 'looking at the copy' : `${shownBytes(copiedBytes)} of ${shownBytes(totalBytes ?? 0)}`,
      });
    },
    end: () => bar.stop(),
  };
}
