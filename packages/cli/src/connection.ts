// Which server a command talks to and with which key. A key never stands on the command line: every process list would show it.
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createClient, WaitlessError, type WaitlessClient } from '@waitless/client';
import { type Command, Option } from 'commander';
import { exitCodes, Failure, systemSentence, wrongUsage } from './failure.ts';
import type { Terminal } from './terminal.ts';

export interface ConnectionOptions {
  url?: string;
  apiKeyFile?: string;
}

export const defaultUrl = 'http://127.0.0.1:7878';

/** Adds the options that every command has which talks to a server. */
export function addConnectionOptions(command: Command): Command {
  return command
    .addOption(new Option('--url <URL>', `the server (default: $WAITLESS_URL, else ${defaultUrl})`))
    .addOption(
      new Option(
        '--api-key-file <FILE>',
        'file that holds the API key (default: $WAITLESS_API_KEY, else $WAITLESS_API_KEY_FILE)',
      ),
    );
}

export interface Connection {
  /** Without a slash at the end. */
  url: string;
  apiKey: string | undefined;
  client: WaitlessClient;
}

/** A client for these options: flag, then environment, then the default. */
export const connect = async (options: ConnectionOptions, terminal: Terminal): Promise<WaitlessClient> =>
  (await connection(options, terminal)).client;

/** The same, for what the client has no verb for. */
export async function connection(options: ConnectionOptions, terminal: Terminal): Promise<Connection> {
  const { env } = terminal;
  const apiKey = await readKey(options, terminal);
  try {
    const client = createClient({ url: options.url ?? (env['WAITLESS_URL'] || defaultUrl), apiKey });
    return { url: client.url, apiKey, client };
  } catch (error) {
    if (!(error instanceof WaitlessError)) throw error;
    throw options.url === undefined
      ? new Failure(`WAITLESS_URL: ${error.message}`, exitCodes.configuration)
      : wrongUsage(`--url: ${error.message}`);
  }
}

/** The words to repeat in a command that shall reach the same server; what the environment says needs no repeating. */
export function connectionWords(options: ConnectionOptions): string[] {
  return [
    ...(options.url === undefined ? [] : ['--url', options.url]),
    ...(options.apiKeyFile === undefined ? [] : ['--api-key-file', options.apiKeyFile]),
  ];
}

async function readKey(options: ConnectionOptions, { env, cwd }: Terminal): Promise<string | undefined> {
  if (options.apiKeyFile === undefined && env['WAITLESS_API_KEY'])
    return checkedKey(env['WAITLESS_API_KEY'].trim(), 'WAITLESS_API_KEY');
  const file = options.apiKeyFile ?? (env['WAITLESS_API_KEY_FILE'] || undefined);
  if (file === undefined) return undefined;
  const name = options.apiKeyFile === undefined ? 'WAITLESS_API_KEY_FILE' : '--api-key-file';
  let text: string;
  try {
    text = await readFile(resolve(cwd, file), 'utf8');
  } catch (error) {
    throw new Failure(`${name}: ${systemSentence(error as NodeJS.ErrnoException)}`, exitCodes.configuration);
  }
  return checkedKey(text.trim(), name);
}

function checkedKey(key: string, name: string): string {
  // The server's key file has the same variable, and its hashes are no keys.
  if (/^\S+\s+\S+\s+[0-9a-f]{64}$/im.test(key))
    throw new Failure(
      `${name}: this is a server's key list with hashes; the commands need a file with the key itself and nothing else.`,
      exitCodes.configuration,
    );
  if (!/^[\x21-\x7e]+$/.test(key))
    throw new Failure(
      `${name}: a key is one word of visible ASCII characters, and this is not.`,
      exitCodes.configuration,
    );
  return key;
}
