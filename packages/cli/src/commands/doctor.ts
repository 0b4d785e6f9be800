// `waitless doctor`: looks at what newcomers stumble over and says of each thing whether it is well or what to do.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ResolvedConfig } from '@waitless/server';
import { Option } from 'commander';
import { collect, type CommandContext, type CommandModule, examples, jsonOption } from '../command.ts';
import { addConnectionOptions, connection, type Connection, type ConnectionOptions } from '../connection.ts';
import { addressOf, type Finding, finding, type FindingState, whyUnreachable } from '../doctor/finding.ts';
import { checkClock, checkData, checkNode, checkPort } from '../doctor/machine.ts';
import { checkServer, lookAt } from '../doctor/server.ts';
import { exitCodes, explain } from '../failure.ts';
import type { Terminal } from '../terminal.ts';
import { plain, withoutPasswords } from '../text.ts';
import { version } from '../version.ts';

interface Options extends ConnectionOptions {
  config?: string;
  host?: string;
  port?: string;
  data?: string;
  target?: string[];
  json?: boolean;
}

const needed = (): string =>
  (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { engines: { node: string } })
    .engines.node;

export const doctor: CommandModule = {
  name: 'doctor',
  summary: 'look for what is wrong here, and say what to do',
  define(command, context) {
    examples(command, [
      'npx waitless doctor',
      'npx waitless doctor --config waitless.yaml',
      'npx waitless doctor --url https://jobs.example.com --json',
    ]);
    addConnectionOptions(
      command
        .addOption(new Option('--config <FILE>', 'as for serve'))
        .addOption(new Option('--host <ADDRESS>', 'as for serve'))
        .addOption(new Option('--port <PORT>', 'as for serve'))
        .addOption(new Option('--data <STORE>', 'as for serve'))
        .addOption(new Option('--target <NAME=URL>', 'as for serve').argParser(collect))
        .addOption(jsonOption('print {"ok": …, "findings": […]}')),
    );
    command.addHelpText('after', '\nExit codes: 0 nothing is wrong, 1 something is. Nothing is changed.');
    command.action(async (options: Options) => {
      const { output } = context;
      const findings: Finding[] = [];
      for await (const { name, state, text } of look(options, context)) {
        const found = { name, state, text: withoutPasswords(plain(text)) };
        findings.push(found);
        if (!options.json) output.line(lineOf(found, context));
      }
      const ok = findings.every(({ state }) => state !== 'wrong');
      if (options.json) output.json({ ok, findings });
      else if (output.attended)
        output.note(output.err.dim(ok ? 'Nothing is wrong.' : 'Mend what is wrong, then look again.'));
      if (!ok) context.exit(exitCodes.failure);
    });
  },
};

function lineOf({ name, state, text }: Finding, { output }: CommandContext): string {
  const paint: Record<FindingState, (text: string) => string> = {
    ok: output.out.green,
    note: output.out.yellow,
    wrong: output.out.red,
  };
  return `${paint[state](state.padEnd(5))}  ${name.padEnd(8)}  ${text}`;
}

/** One thing after the other, so that each line can be seen while the next is looked at. */
async function* look(options: Options, { terminal }: CommandContext): AsyncGenerator<Finding> {
  yield checkNode(process.versions.node, needed());

  const { resolveConfig, isStoreInUse } = await import('@waitless/server');
  let resolved: ResolvedConfig | undefined;
  const { config, host, port, data, target } = options;
  try {
    const { server: env } = environments(terminal);
    resolved = resolveConfig({ options: { config, host, port, data, target }, env, cwd: terminal.cwd });
    yield finding('config', 'ok', configText(resolved));
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'ConfigError') throw error;
    yield finding('config', 'wrong', error.message);
  }
  if (resolved !== undefined) {
    yield await checkPort(resolved.config, terminal.now);
    yield await checkData(resolved.store, resolved.config.data, isStoreInUse);
  }

  let server: Connection | undefined;
  try {
    server = await connection(options, { ...terminal, env: environments(terminal).command });
  } catch (error) {
    yield finding('server', 'wrong', explain(error).sentence);
  }
  if (server !== undefined) {
    const who = await lookAt(server.url, terminal.now);
    const asked = options.url !== undefined || Boolean(terminal.env['WAITLESS_URL']);
    yield checkServer({ url: server.url, who, own: version, asked });
    if (who.kind === 'waitless') yield await checkKey(server);
    yield checkClock(terminal.now(), who.kind === 'waitless' ? who.skewMs : undefined);
  } else yield checkClock(terminal.now(), undefined);

  for (const { name, target: backend } of resolved?.config.services.values() ?? []) {
    if (backend.kind !== 'http') continue;
    const why = await whyUnreachable(addressOf(backend.url));
    yield why === undefined
      ? finding('backend', 'ok', `${name}: ${backend.url} can be reached`)
      : finding('backend', 'wrong', `${name}: ${backend.url} cannot be reached: ${why}; start it, or mend its URL`);
  }
}

/** WAITLESS_API_KEY_FILE is the list of hashes for a server and the key itself for a command; each shall see its own. */
function environments({ env, cwd }: Terminal): Record<'server' | 'command', Terminal['env']> {
  const without = { ...env, WAITLESS_API_KEY_FILE: undefined };
  let text = '';
  try {
    text = readFileSync(resolve(cwd, env['WAITLESS_API_KEY_FILE'] ?? ''), 'utf8');
  } catch {
    // Whoever needs it says what is wrong with it.
    return { server: env, command: env };
  }
  return /^\S+[ \t]+\S+[ \t]+\S+/m.test(text) ? { server: env, command: without } : { server: without, command: env };
}

function configText({ configFile, config, warnings }: ResolvedConfig): string {
  const names = [...config.services.keys()];
  const services =
    names.length === 0 ? 'no services yet (--target NAME=URL adds one)' : `services: ${names.join(', ')}`;
  return [configFile ?? 'no file', services, ...warnings].join('; ');
}

/** Whether the key that commands send, or the lack of one, is what the server asks for. */
async function checkKey(server: Connection): Promise<Finding> {
  try {
    await server.client.services();
    return finding('key', 'ok', server.apiKey === undefined ? 'the server asks for none' : 'the server knows it');
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code !== 'unauthenticated') return finding('key', 'wrong', message);
    return finding(
      'key',
      'wrong',
      server.apiKey === undefined
        ? 'the server asks for an API key; set WAITLESS_API_KEY, or give --api-key-file FILE with the key in it'
        : "the server does not know this key; take one whose hash is in the server's key file (`npx waitless keys new`)",
    );
  }
}
