// `waitless services`: what there is to submit to, with live counts.
import type { OperationStatus, ServiceSummary } from '@waitless/client';
import { operationStatuses } from '@waitless/protocol';
import { type CommandModule, examples, jsonOption } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions } from '../connection.ts';

interface Options extends ConnectionOptions {
  json?: boolean;
}

export const services: CommandModule = {
  name: 'services',
  summary: 'list services with their live counts',
  define(command, context) {
    examples(command, ['npx waitless services', 'npx waitless services --json']);
    addConnectionOptions(command.addOption(jsonOption('print {"items": […]}')));
    command.action(async (options: Options) => {
      const { terminal, output } = context;
      const client = await connect(options, terminal);
      const items = await client.services();
      if (options.json) return output.json({ items });
      if (items.length === 0 && output.attended)
        return output.note('No services. A server gets them from --target NAME=URL, --pull NAME or its config file.');
      const count = (status: OperationStatus) => ({
        title: status.toUpperCase(),
        text: (one: ServiceSummary) => String(one.counts[status]),
        right: true,
      });
      output.table<ServiceSummary>(
        [
          { title: 'SERVICE', text: (one) => one.name },
          { title: 'TARGET', text: (one) => one.target },
          { title: 'MODE', text: (one) => one.mode },
          ...operationStatuses.map(count),
        ],
        items,
      );
    });
  },
};
