// Runs a server inside this process until a signal asks it to stop: what `serve` and `dev` have in common.
import type { ResolvedConfig, RunningServer } from '@waitless/server';
import type { CommandContext } from './command.ts';
import { exitCodes, Failure } from './failure.ts';
import { plain } from './text.ts';
import { version } from './version.ts';

/** What the 202 of a store stands for. */
const durability = {
  memory: 'as long as this runs',
  folder: 'stored: on disk before the 202 is sent',
  postgres: 'stored: committed by the database before the 202 is sent',
} as const;

/** Turns the server's errors at start into sentences with their exit codes. */
export function startFailure(error: unknown, resolved?: ResolvedConfig): unknown {
  if (!(error instanceof Error)) return error;
  // The second may quote the database.
  if (error.name === 'ConfigError' || error.name === 'StoreRefused')
    return new Failure(plain(error.message), exitCodes.configuration);
  const code = (error as NodeJS.ErrnoException).code;
  const { host = '', port = 0 } = resolved?.config ?? {};
  if (code === 'insufficient-storage' || code === 'ENOSPC')
    return new Failure(
      `the disk of ${resolved?.store.title ?? 'the data'} is full; free some space, or give a folder on another disk with --data.`,
    );
  if (code === 'EADDRINUSE')
    return new Failure(
      `port ${port} on ${host} is taken, perhaps by another Waitless; give another with --port, or --port 0 for a free one.`,
    );
  if (code === 'EACCES' && (error as NodeJS.ErrnoException).syscall === 'listen')
    return new Failure(`no permission to listen on port ${port} of ${host}; ports from 1024 up need none.`);
  if (code === 'EADDRNOTAVAIL')
    return new Failure(`${host} is not an address of this machine; give one with --host.`, exitCodes.configuration);
  return error;
}

/** The lines every server begins with; the first URL printed is the server's. */
export function announce(server: RunningServer, resolved: ResolvedConfig, { output }: CommandContext): void {
  const { out, line } = output;
  const { config } = server;
  const { store } = resolved;
  const row = (name: string, text: string): void => line(`  ${out.dim(name.padEnd(11))} ${text}`);
  const origin = (name: string): string => out.dim(` (${resolved.origins.get(name)?.text ?? 'default'})`);
  line(`${out.bold(`Waitless ${version}`)} listening on ${out.cyan(server.url)}`);
  row('data', store.kind === 'memory' ? store.title : `${store.title}${origin('data')}`);
  const weak = server.storeWarnings.length > 0;
  row('durability', weak ? 'weak, as was accepted: what is acknowledged may be lost' : durability[store.kind]);
  const names = [...config.services.values()].map(
    (service) => `${service.name} → ${service.target.kind === 'pull' ? 'pull workers' : service.target.url}`,
  );
  if (names.length === 0) row('services', 'none yet: add one with --target NAME=URL or --pull NAME');
  for (const [index, text] of names.entries()) row(index === 0 ? 'services' : '', text);
  if (resolved.configFile !== undefined) row('config', resolved.configFile);
  if (config.keys === undefined)
    line(
      out.yellow(
        `  Open: there is no API key, so everyone on this machine may call it. --api-key-file FILE asks for keys.`,
      ),
    );
  for (const warning of [...server.storeWarnings, ...server.warnings, ...resolved.warnings])
    line(out.yellow(`  ${warning}`));
}

/** Resolves with the exit code once the server has stopped. A second signal ends the process at once. */
export async function runUntilSignal(server: RunningServer, { terminal, output }: CommandContext): Promise<number> {
  let unhear = (): void => undefined;
  const signalled = new Promise<NodeJS.Signals>((resolve) => {
    let first = true;
    unhear = terminal.onSignal(['SIGTERM', 'SIGINT'], (signal) => {
      if (!first) terminal.exit(signal === 'SIGINT' ? exitCodes.interrupted : 143);
      first = false;
      resolve(signal);
    });
  });
  try {
    const reason = await Promise.race([signalled, server.failed]);
    if (reason instanceof Error) throw new Failure(`the server had to stop: ${reason.message}`);
    output.note(
      `Stopping, within ${Math.round(server.config.shutdownTimeoutMs / 1_000)} s; once more to stop at once.`,
    );
    await server.stop();
    return exitCodes.success;
  } finally {
    unhear();
  }
}
