// `waitless serve`: the server.
import { examples, type CommandModule } from '../command.ts';
import { announce, runUntilSignal, startFailure } from '../run-server.ts';
import { addServerOptions } from '../server-options.ts';

export const serve: CommandModule = {
  name: 'serve',
  summary: 'run the server in front of your services',
  async define(command, context) {
    const { describeConfig, optionTable, resolveConfig, startServer, unbuiltOptions } =
      await import('@waitless/server');
    examples(command, [
      'npx waitless serve --target score=http://127.0.0.1:9001',
      'npx waitless serve --target score=http://127.0.0.1:9001 --key score=/customerId --valid-for score=24h',
      'npx waitless serve --pull jobs --data /var/lib/waitless --port 8080',
      'npx waitless serve --pull jobs --data postgres://waitless@db.example.com:5432/waitless',
      'npx waitless serve --config waitless.yaml --print-config',
    ]);
    addServerOptions(command, { table: optionTable, unbuilt: unbuiltOptions });
    command.action(async (options: Record<string, string | boolean | string[]>) => {
      const { terminal, output } = context;
      let resolved;
      try {
        resolved = resolveConfig({ options, env: terminal.env, cwd: terminal.cwd });
        if (resolved.values.printConfig) {
          terminal.stdout.write(describeConfig(resolved));
          return;
        }
        const server = await startServer(resolved.config);
        // Signals are heard before the URL is printed: whoever reads it may stop us the moment after.
        const ended = runUntilSignal(server, context);
        announce(server, resolved, context);
        if (output.person) output.line(output.out.dim('  Ctrl-C stops it.'));
        context.exit(await ended);
      } catch (error) {
        throw startFailure(error, resolved);
      }
    });
  },
};
