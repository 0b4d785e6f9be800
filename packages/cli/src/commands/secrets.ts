// `waitless secrets`: what callbacks are signed with. Lists ids and ages; `rotate` makes a new one and prints its value this once.
import { Argument, InvalidArgumentError, Option } from 'commander';
import { type CommandContext, type CommandModule, examples, jsonOption } from '../command.ts';
import { addConnectionOptions, type Connection, connection, type ConnectionOptions } from '../connection.ts';
import { exchange } from '../exchange.ts';
import { wrongUsage } from '../failure.ts';
import { span } from '../text.ts';

interface Options extends ConnectionOptions {
  overlapHours?: number;
  json?: boolean;
}

interface Listed {
  id: string;
  createdAt: string;
  ageSeconds: number;
  validUntil: string | null;
  readable: boolean;
}

interface Rotated {
  id: string;
  secret: string;
  createdAt: string;
  previous: { id: string; validUntil: string } | null;
}

const path = '/v1/callback-secrets';

export const secrets: CommandModule = {
  name: 'secrets',
  summary: 'list the secrets that callbacks are signed with, or make a new one: `secrets rotate`',
  define(command, context) {
    examples(command, [
      'npx waitless secrets',
      'npx waitless secrets rotate > callback.secret',
      'npx waitless secrets rotate --overlap-hours 0      # the old one is known to others: end it now',
    ]);
    addConnectionOptions(
      command
        .addArgument(new Argument('[WHAT]', 'list or rotate').choices(['list', 'rotate']).default('list'))
        .addOption(
          new Option('--overlap-hours <HOURS>', 'with rotate: how long the one before goes on (default: 24)').argParser(
            hoursArgument,
          ),
        )
        .addOption(jsonOption()),
    );
    command.addHelpText(
      'after',
      '\nSecrets belong to a namespace: that of the API key. At most two are in use, so a rotation ends the one before the last at once.\nThe value is printed once; the list never shows one.',
    );
    command.action(async (what: 'list' | 'rotate', options: Options) => {
      if (what === 'list' && options.overlapHours !== undefined)
        throw wrongUsage('--overlap-hours belongs to `secrets rotate`.');
      const server = await connection(options, context.terminal);
      await (what === 'list' ? list : rotate)(server, options, context);
    });
  },
};

async function list(server: Connection, { json }: Options, { output }: CommandContext): Promise<void> {
  const { items } = await exchange<{ items: Listed[] }>(server, { method: 'GET', path });
  if (json) return output.json({ items });
  if (items.length === 0 && output.attended)
    return output.note('No callback secret yet. `npx waitless secrets rotate` makes one and shows it.');
  output.table<Listed>(
    [
      { title: 'ID', text: ({ id }) => id },
      { title: 'MADE', text: ({ createdAt }) => createdAt },
      {
        title: 'AGE',
        text: ({ ageSeconds }) => String(ageSeconds),
        person: ({ ageSeconds }) => span(ageSeconds * 1000),
      },
      {
        title: 'SIGNS UNTIL',
        text: ({ validUntil }) => validUntil ?? '',
        person: ({ validUntil }) => validUntil ?? 'rotated',
      },
      { title: 'STATE', text: ({ readable }) => (readable ? 'in use' : 'sealed with another key') },
    ],
    items,
  );
}

async function rotate(server: Connection, { overlapHours, json }: Options, { output }: CommandContext): Promise<void> {
  const rotated = await exchange<Rotated>(server, {
    method: 'POST',
    path: `${path}/rotate`,
    body: overlapHours === undefined ? {} : { overlapHours },
  });
  if (json) return output.json(rotated);
  output.line(rotated.secret);
  if (!output.attended) return;
  const note = (text: string): void => output.note(output.err.dim(text));
  note('');
  note('The new secret stands above, and nowhere else from now on. Give it to whatever receives your callbacks: it');
  note('checks their webhook-signature with it (Standard Webhooks). There is nothing else to do.');
  if (rotated.previous !== null)
    note(
      `Until ${rotated.previous.validUntil} callbacks are signed with the one before as well (${rotated.previous.id}).`,
    );
}

function hoursArgument(value: string): number {
  const hours = /^\d{1,3}(\.\d{1,6})?$/.test(value) ? Number(value) : Number.NaN;
  if (!(hours >= 0 && hours <= 168)) throw new InvalidArgumentError('It takes a number of hours from 0 to 168.');
  return hours;
}
