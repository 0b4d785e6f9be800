// `waitless dev`: the first minute. A throw-away server with example services, and the lines to type next.
import type { ResolvedConfig, RunningServer } from '@waitless/server';
import { type CommandContext, type CommandModule, examples } from '../command.ts';
import { defaultUrl } from '../connection.ts';
import { devServices, startDevBackend } from '../dev-backend.ts';
import { announce, runUntilSignal, startFailure } from '../run-server.ts';
import { addServerOptions } from '../server-options.ts';
import { shellWord } from '../text.ts';

/** The service that is worked by whoever takes a lease. */
const pullService = 'jobs';
/** The one whose results are kept for the next who ask for the same customer. */
const keptService = 'score';
const keptMinutes = 5;

export const dev: CommandModule = {
  name: 'dev',
  summary: 'run a throw-away server with example services, and see what to type next',
  async define(command, context) {
    const { optionTable, resolveConfig, startServer, unbuiltOptions } = await import('@waitless/server');
    examples(command, [
      'npx waitless dev',
      'npx waitless dev --port 8080',
      'npx waitless dev --target mine=http://127.0.0.1:9001',
    ]);
    addServerOptions(command, { table: optionTable, unbuilt: unbuiltOptions }, [
      // What is about a store that lasts does nothing for one in memory.
      'data',
      'backupFolder',
      'dataPasswordFile',
      'secretKeyFile',
      'iAcceptWeakDurability',
      'printConfig',
    ]);
    command.action(async (options: Record<string, string | boolean | readonly string[] | undefined>) => {
      const { terminal, output } = context;
      const sources = { env: terminal.env, cwd: terminal.cwd };
      const backend = await startDevBackend({ onError: (error) => output.note(`example backend: ${error.message}`) });
      let resolved: ResolvedConfig | undefined;
      try {
        // Without what may be about the examples, which are not there yet.
        const own = resolveConfig({
          env: { ...terminal.env, WAITLESS_KEY: undefined, WAITLESS_VALID_FOR: undefined },
          cwd: terminal.cwd,
          options: { ...options, data: ':memory:', key: undefined, validFor: undefined },
        });
        // Services of the user's own, under whatever names, come before the examples.
        const free = (name: string): boolean => !own.config.services.has(name);
        const given = (name: string): readonly string[] =>
          Array.isArray(options[name]) ? (options[name] as readonly string[]) : [];
        // And so do keys that are given for the examples.
        const isKept =
          free(keptService) &&
          ![...given('key'), ...(terminal.env['WAITLESS_KEY'] ?? '').split(',')].some((one) =>
            one.trim().startsWith(`${keptService}=`),
          );
        const hasValidity = [...given('validFor'), ...(terminal.env['WAITLESS_VALID_FOR'] ?? '').split(',')].some(
          (one) => one.trim().startsWith(`${keptService}=`),
        );
        resolved = resolveConfig({
          ...sources,
          options: {
            ...options,
            data: ':memory:',
            target: [...given('target'), ...devServices.filter(free).map((name) => `${name}=${backend.url}/${name}`)],
            pull: [...given('pull'), ...[pullService].filter(free)],
            key: [...given('key'), ...(isKept ? [`${keptService}=/customerId`] : [])],
            validFor: [...given('validFor'), ...(isKept && !hasValidity ? [`${keptService}=${keptMinutes}m`] : [])],
            allowNetwork: [...own.config.allowNetwork, '127.0.0.0/8', '::1/128'],
          },
        });
        const server = await startOnFreePort(resolved, startServer);
        const ended = runUntilSignal(server, context);
        announce(server, resolved, context);
        printNextLines({ url: server.url, isKept }, context);
        context.exit(await ended);
      } catch (error) {
        throw startFailure(error, resolved);
      } finally {
        await backend.stop();
      }
    });
  },
};

/** The usual port, or a free one where it is taken and nobody asked for it by number. */
async function startOnFreePort(
  resolved: ResolvedConfig,
  startServer: (config: ResolvedConfig['config']) => Promise<RunningServer>,
): Promise<RunningServer> {
  try {
    return await startServer(resolved.config);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || resolved.origins.has('port')) throw error;
    return startServer({ ...resolved.config, port: 0 });
  }
}

function printNextLines({ url, isKept }: { url: string; isKept: boolean }, { output }: CommandContext): void {
  const at = url === defaultUrl ? [] : ['--url', url];
  const npx = (...words: string[]): string => `  npx waitless ${[...words, ...at].map(shellWord).join(' ')}`;
  const curl = (path: string, ...words: string[]): string =>
    `  curl ${[...words, `${url}${path}`].map(shellWord).join(' ')}`;
  const json = ['-H', 'Content-Type: application/json'];
  const comment = (text: string): string => output.out.dim(`  # ${text}`);
  const lines = [
    '',
    `Type next, in another terminal${output.person ? ' (Ctrl-C here stops the server)' : ''}:`,
    '',
    comment('a slow credit score: accepted at once, the result when it is there'),
    curl('/v1/call/score', '-i', ...json, '-d', '{"customerId":"42"}'),
    npx('submit', 'score', '-d', '{"customerId":"42"}', '--wait'),
    '',
    ...(isKept
      ? [
          comment(
            `the same customer again: answered at once, from the store, for ${keptMinutes} minutes (see Age and Cache-Status)`,
          ),
          curl('/v1/call/score', '-i', '-H', 'Prefer: wait=10', ...json, '-d', '{"customerId":"42"}'),
          '',
          comment('looked up by customer, and nothing is started'),
          curl('/v1/services/score/results/42', '-i'),
        ]
      : [
          comment('the same in one request that waits for the result'),
          curl('/v1/call/score', '-H', 'Prefer: wait=10', ...json, '-d', '{"customerId":"42"}'),
        ]),
    '',
    comment('a backend that answers later and reports its progress'),
    npx('submit', 'pizza-oven', '-d', '{"pizza":"margherita"}', '--wait'),
    curl('/v1/call/pizza-oven', '-i', ...json, '-d', '{"pizza":"margherita"}'),
    '',
    comment('work that waits for whoever takes it'),
    npx('submit', 'jobs', '-d', 'paint the fence'),
    curl('/v1/services/jobs/leases', ...json, '-d', '{"worker":"me","waitSeconds":30}'),
    '',
    comment('what is going on'),
    npx('ls'),
    curl('/v1/operations'),
    '',
  ];
  for (const line of lines) output.line(line);
}
