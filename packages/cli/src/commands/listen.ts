// `waitless listen`: a receiver of callbacks on this machine that checks their signatures and prints what they tell.
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { webhookKey } from '@waitless/protocol';
import { Option } from 'commander';
import { type Received, startCallbackReceiver } from '../callback-receiver.ts';
import { type CommandContext, type CommandModule, examples, jsonOption, wholeArgument } from '../command.ts';
import { addConnectionOptions, connection, type ConnectionOptions } from '../connection.ts';
import { exchange } from '../exchange.ts';
import { exitCodes, Failure, systemSentence, wrongUsage } from '../failure.ts';
import { plain } from '../text.ts';

interface Options extends ConnectionOptions {
  port: number;
  secretFile?: string;
  rotate?: boolean;
  once?: boolean;
  json?: boolean;
}

const secretVariable = 'WAITLESS_CALLBACK_SECRET';
const secretsPath = '/v1/callback-secrets';
const previewLength = 100;

export const listen: CommandModule = {
  name: 'listen',
  summary: 'receive callbacks on this machine, check their signatures and print them',
  define(command, context) {
    examples(command, [
      'npx waitless listen                                      # beside `npx waitless dev`',
      'npx waitless listen --port 9000 --secret-file callback.secret',
      'npx waitless listen --once --json | jq .notice.data.result.body',
    ]);
    addConnectionOptions(
      command
        .addOption(
          new Option('--port <N>', 'port on 127.0.0.1; 0 is a free one').default(0).argParser(wholeArgument(0, 65_535)),
        )
        .addOption(
          new Option(
            '--secret-file <FILE>',
            `file with the callback secret, or two while one replaces the other (default: $${secretVariable})`,
          ),
        )
        .addOption(new Option('--rotate', 'have the server make a new secret for this run'))
        .addOption(new Option('--once', 'end after the first callback that is verified'))
        .addOption(jsonOption('print each callback as one line of JSON')),
    );
    command.addHelpText(
      'after',
      `
Without a secret the server is asked for the first one of your namespace. It shows each but once: where there is one
already, give it, or take --rotate for a new one, beside which the one before goes on for a day.
The server must be allowed to call this machine: \`waitless dev\` is, \`waitless serve\` with --allow-network 127.0.0.0/8.
A callback that cannot be verified is marked as such and answered with 401, a good one with 204.
Exit codes: 0 stopped by a signal or done with --once, 1 failure, 2 wrong usage, 78 a secret that is none.`,
    );
    command.action((options: Options) => run(options, context));
  },
};

async function run(options: Options, context: CommandContext): Promise<void> {
  const { terminal, output } = context;
  if (options.rotate && options.secretFile !== undefined)
    throw wrongUsage('--rotate makes a new secret, so --secret-file has none for it; drop one of the two.');
  const secrets = await secretsFor(options, context);
  const ended = Promise.withResolvers<void>();
  const receiver = await startCallbackReceiver({
    port: options.port,
    secrets,
    now: terminal.now,
    onReceived(received) {
      print(received, options, context);
      if (received.verified && options.once) ended.resolve();
    },
  });
  const unhear = terminal.onSignal(['SIGTERM', 'SIGINT'], () => ended.resolve());
  const dim = (text: string): void => output.note(output.err.dim(text));
  output.note(`Listening. Submit with  -H 'Callback-Url: ${receiver.url}'`);
  if (output.attended) dim(`Each progress too: -H 'Callback-Events: progress'. Ctrl-C stops it.`);
  try {
    await ended.promise;
  } finally {
    unhear();
    await receiver.close();
  }
}

async function secretsFor(options: Options, { terminal, output }: CommandContext): Promise<string[]> {
  const fromEnvironment = options.rotate ? undefined : terminal.env[secretVariable];
  if (options.secretFile !== undefined) {
    let text: string;
    try {
      text = await readFile(resolve(terminal.cwd, options.secretFile), 'utf8');
    } catch (error) {
      throw new Failure(`--secret-file: ${systemSentence(error as NodeJS.ErrnoException)}`, exitCodes.configuration);
    }
    return checked(text, '--secret-file');
  }
  if (fromEnvironment) return checked(fromEnvironment, secretVariable);
  const server = await connection(options, terminal);
  if (!options.rotate) {
    const { items } = await exchange<{ items: unknown[] }>(server, { method: 'GET', path: secretsPath });
    if (items.length > 0)
      throw new Failure(
        `there is a callback secret already, and the server shows it to nobody again; give it with --secret-file FILE, or have a new one made with --rotate.`,
      );
  }
  const made = await exchange<{ secret: string; id: string }>(server, {
    method: 'POST',
    path: `${secretsPath}/rotate`,
    body: {},
  });
  output.note(output.err.dim(`A new callback secret was made at ${server.url}: ${made.id}. This run alone knows it.`));
  return [made.secret];
}

function checked(text: string, where: string): string[] {
  const words = text.trim().split(/\s+/);
  // The message must not show what may be a secret with one letter too many.
  if (words.some((word) => webhookKey(word) === undefined))
    throw new Failure(
      `${where}: a callback secret is "whsec_" and base64, as \`npx waitless secrets rotate\` prints it; this holds something else.`,
      exitCodes.configuration,
    );
  return words;
}

function print(received: Received, { json }: Options, { terminal, output }: CommandContext): void {
  const receivedAt = new Date(terminal.now()).toISOString();
  if (!received.verified) {
    const { reason } = received;
    if (json) return output.ndjson({ verified: false, receivedAt, reason });
    return output.line(`${output.out.dim(receivedAt)}  ${output.out.red('not verified')}  ${plain(reason)}`);
  }
  const { id, again, sentAt, text } = received;
  const notice = noticeIn(text);
  if (json) {
    const head = JSON.stringify({ verified: true, receivedAt, id, again, sentAt: sentAt.toISOString() });
    // Read and written again, large numbers and repeated keys of a result would be others. A line break in JSON is never more than a blank.
    const source = notice === undefined ? JSON.stringify(text) : text.replace(/[\r\n]+/g, ' ');
    return output.line(`${head.slice(0, -1)},"notice":${source}}`);
  }
  const { out } = output;
  if (notice === undefined) return output.line(`${out.dim(receivedAt)}  ${plain(id)}  signed, but no notice of ours`);
  const parts = [
    out.dim(receivedAt),
    plain(notice.data.id),
    wordsOf(notice, output),
    ...(again ? [out.dim('sent again')] : []),
  ];
  output.line(parts.filter((part) => part !== '').join('  '));
}

interface Notice {
  type: string;
  data: {
    id: string;
    status?: 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';
    progress?: { stage?: string; percent?: number; message?: string };
    error?: { code: string; message: string } | null;
    result?: { status: number; body?: unknown; bodyBase64?: string };
  };
}

function noticeIn(text: string): Notice | undefined {
  try {
    const value = JSON.parse(text) as Partial<Notice> | null;
    return typeof value?.type === 'string' && typeof value.data?.id === 'string' ? (value as Notice) : undefined;
  } catch {
    return undefined;
  }
}

function wordsOf({ type, data }: Notice, output: CommandContext['output']): string {
  const kind = plain(type.replace(/^waitless\.operation\./, ''));
  const { progress, error, result, status } = data;
  const told = [
    progress?.stage,
    progress?.percent === undefined ? undefined : `${Math.round(progress.percent)} %`,
    progress?.message,
    error ? `${error.code}: ${error.message}` : undefined,
    result === undefined ? undefined : `${result.status} ${preview(result)}`,
  ].filter((part) => part !== undefined && part !== '');
  const word = status === undefined ? kind : output.status(status, kind);
  return [word, plain(told.join(', '))].filter((part) => part !== '').join('  ');
}

function preview({ body, bodyBase64 }: { body?: unknown; bodyBase64?: string }): string {
  if (bodyBase64 !== undefined) return `${Buffer.from(bodyBase64, 'base64').length} bytes`;
  const text = typeof body === 'string' ? body : JSON.stringify(body ?? null);
  return text.length > previewLength ? `${text.slice(0, previewLength)}…` : text;
}
