// `waitless subscriptions`: who is told of which topics, how far behind they are, and making, pausing and removing them.
import type { EventFilter, Subscription, SubscriptionDocument, WaitlessClient } from '@waitless/client';
import { Argument, InvalidArgumentError, Option } from 'commander';
import {
  collect,
  type CommandContext,
  type CommandModule,
  durationArgument,
  examples,
  jsonOption,
  wholeArgument,
} from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions, connectionWords } from '../connection.ts';
import { wrongUsage } from '../failure.ts';
import { filterOption } from '../filter-option.ts';
import { readBytes } from '../read-data.ts';
import { withSubscriptionNames } from '../subscription-names.ts';
import { commandLine, plain, span } from '../text.ts';

const verbs = ['ls', 'get', 'put', 'rm', 'pause', 'resume', 'lag'] as const;
type Verb = (typeof verbs)[number];

interface Options extends ConnectionOptions {
  topic?: string[];
  filter?: EventFilter[];
  pull?: boolean;
  service?: string;
  to?: string;
  from?: 'now' | 'start' | number;
  ordered?: boolean;
  maxInFlight?: number;
  maxAttempts?: number;
  lease?: string;
  file?: string;
  json?: boolean;
}

/** Options that make a document; each without a meaning for any other verb. */
const ofPut = [
  'topic',
  'filter',
  'pull',
  'service',
  'to',
  'from',
  'ordered',
  'maxInFlight',
  'maxAttempts',
  'lease',
  'file',
] as const;

export const subscriptions: CommandModule = {
  name: 'subscriptions',
  summary: 'list subscriptions and how far behind they are; put, get, rm, pause, resume, lag',
  define(command, context) {
    examples(command, [
      'npx waitless subscriptions',
      `npx waitless subscriptions put history --topic 'orders.**' --pull --from start`,
      `npx waitless subscriptions put kitchen --topic orders.placed --service oven --filter type=order.*`,
      'npx waitless subscriptions put mails --topic orders.ready --to https://example.com/hook',
      'npx waitless subscriptions pause mails',
      'npx waitless subscriptions lag history',
    ]);
    addConnectionOptions(
      command
        .addArgument(new Argument('[WHAT]', verbs.join(', ')).choices(verbs).default('ls'))
        .argument('[NAME]', 'of the subscription')
        .addOption(
          new Option(
            '--topic <PATTERN>',
            'put: a name, or a pattern with * for one word, ** for any number; may be repeated',
          ).argParser(collect),
        )
        .addOption(filterOption('put: '))
        .option('--pull', 'put: for consumers that take events: `npx waitless consume`, or the SDK')
        .option('--service <NAME>', 'put: each event starts an operation of this service')
        .option('--to <URL>', 'put: each event is a signed POST there')
        .addOption(
          new Option(
            '--from <PLACE>',
            'put: where a new one begins: now (default), start, or after a position',
          ).argParser(placeArgument),
        )
        .option('--ordered', 'put: one event of an ordering key at a time')
        .addOption(
          new Option('--max-in-flight <N>', 'put: how many may be under way at once').argParser(
            wholeArgument(1, 10_000),
          ),
        )
        .addOption(
          new Option('--max-attempts <N>', 'put: tries of an event before it is a dead letter').argParser(
            wholeArgument(1, 1000),
          ),
        )
        .addOption(new Option('--lease <DURATION>', 'put: how long a consumer has').argParser(durationArgument))
        .option('--file <FILE>', 'put: the whole document as JSON instead; - for stdin')
        .addOption(jsonOption('print {"items": […]}, or the subscription')),
    );
    command.action(async (what: Verb, name: string | undefined, options: Options) => {
      const given = ofPut.find((option) => options[option] !== undefined);
      if (what !== 'put' && given !== undefined)
        throw wrongUsage(
          `--${given.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} belongs to \`subscriptions put\`.`,
        );
      if (name === undefined && what !== 'ls' && what !== 'lag')
        throw wrongUsage(`which one? ${commandLine('subscriptions', what, 'NAME')}`);
      if (name !== undefined && what === 'ls')
        throw wrongUsage(`\`ls\` lists all; for one: ${commandLine('subscriptions', 'get', name)}`);
      const client = await connect(options, context.terminal);
      try {
        await run(client, { what, name: name ?? '', options }, context);
      } catch (error) {
        throw await withSubscriptionNames(error, name ?? '', client);
      }
    });
  },
};

async function run(
  client: WaitlessClient,
  { what, name, options }: { what: Verb; name: string; options: Options },
  context: CommandContext,
): Promise<void> {
  const { output } = context;
  const { json } = options;
  const note = (text: string): void => {
    if (output.attended) output.note(output.err.dim(text));
  };
  if (what === 'ls') return list(await client.subscriptions.list(), { options, context });
  if (what === 'lag')
    return lag(name === '' ? await client.subscriptions.list() : [await client.subscriptions.get(name)], {
      options,
      context,
    });
  if (what === 'get') return output.json(await client.subscriptions.get(name));
  if (what === 'rm') {
    await client.subscriptions.remove(name);
    return note(`Removed ${name}; the events stay in their topics.`);
  }
  const document = what === 'put' ? await documentOf(options, context) : undefined;
  const saved =
    what === 'put'
      ? await client.subscriptions.put(name, document!)
      : await client.subscriptions[what as 'pause' | 'resume'](name);
  if (json) return output.json(saved);
  output.line(`${saved.name}\t${saved.state}`);
  if (what === 'pause')
    return note(
      `Nothing goes out and nothing is lost until: ${commandLine('subscriptions', 'resume', name, ...connectionWords(options))}`,
    );
  if (what === 'put' && document && 'pull' in document.target)
    note(`To take its events: ${commandLine('consume', name, ...connectionWords(options))}`);
  return undefined;
}

async function documentOf(options: Options, { terminal }: CommandContext): Promise<SubscriptionDocument> {
  const { file, topic, filter, pull, service, to, from, ordered, maxInFlight, maxAttempts, lease } = options;
  if (file !== undefined) {
    const other = ofPut.find((option) => option !== 'file' && options[option] !== undefined);
    if (other !== undefined) throw wrongUsage(`--file is the whole document; put --${other} into it.`);
    const text = Buffer.from(await readBytes(file, { option: '--file', terminal })).toString();
    try {
      return JSON.parse(text) as SubscriptionDocument;
    } catch {
      throw wrongUsage('--file: it is not JSON; a document looks like {"topic": "orders.*", "target": {"pull": true}}');
    }
  }
  if (topic === undefined) throw wrongUsage(`of which topics? --topic 'orders.*'; '**' is all of them.`);
  const targets = [
    ...(pull ? [{ pull: true as const }] : []),
    ...(service === undefined ? [] : [{ service }]),
    ...(to === undefined ? [] : [{ url: to }]),
  ];
  const [target] = targets;
  if (target === undefined || targets.length > 1)
    throw wrongUsage('who gets the events? Exactly one of --pull, --service NAME and --to URL.');
  return {
    ...(topic.length === 1 ? { topic: topic[0] } : { topics: topic }),
    ...(filter && { filter: filter.length === 1 ? filter[0] : filter }),
    target,
    from,
    ordered,
    maxInFlight,
    ...(maxAttempts !== undefined && { retry: { maxAttempts } }),
    lease,
  };
}

interface Shown {
  options: Options;
  context: CommandContext;
}

function list(items: readonly Subscription[], { options, context: { terminal, output } }: Shown): void {
  if (options.json) return output.json({ items });
  if (items.length === 0 && output.attended)
    return output.note(
      `No subscriptions. ${commandLine('subscriptions', 'put', 'history', '--topic', '**', '--pull')} makes one.`,
    );
  output.table<Subscription>(
    [
      { title: 'NAME', text: ({ name }) => name },
      {
        title: 'STATE',
        text: ({ state }) => state,
        colour: ({ state }, text) => (state === 'active' ? output.out.green(text) : output.out.yellow(text)),
      },
      { title: 'TOPICS', text: ({ document }) => (document?.topic ?? document?.topics?.join(' ')) || '' },
      { title: 'TARGET', text: targetOf },
      { title: 'LAG', text: lagOf, right: true },
      { title: 'OPEN', text: ({ open }) => String(open.waiting + open.sending + open.held), right: true },
      {
        title: 'DEAD',
        text: ({ open }) => String(open.dead),
        right: true,
        colour: ({ open }, text) => (open.dead > 0 ? output.out.red(text) : text),
      },
      oldest(terminal.now()),
    ],
    items,
  );
  const unusable = items.filter(({ problem }) => problem !== undefined);
  for (const { problem } of unusable) output.note(`${output.err.yellow('unusable:')} ${plain(problem!)}`);
  const dead = items.find(({ open }) => open.dead > 0);
  if (dead && output.attended)
    output.note(output.err.dim(`Dead letters: ${commandLine('dead-letters', dead.name, ...connectionWords(options))}`));
}

function lag(items: readonly Subscription[], { options, context: { terminal, output } }: Shown): void {
  if (options.json)
    return output.json({
      items: items.map(({ name, lag: own, open, oldestUnacknowledged }) => ({
        name,
        lag: own,
        open,
        oldestUnacknowledged,
      })),
    });
  if (items.length === 0 && output.attended) return output.note('No subscriptions.');
  output.table<Subscription>(
    [
      { title: 'NAME', text: ({ name }) => name },
      { title: 'LAG', text: lagOf, right: true },
      { title: 'OPEN', text: ({ open }) => String(open.waiting + open.sending + open.held), right: true },
      oldest(terminal.now()),
    ],
    items,
  );
}

const oldest = (now: number) => ({
  title: 'OLDEST UNACKNOWLEDGED',
  text: ({ oldestUnacknowledged: one }: Subscription) => one?.since ?? '',
  person: ({ oldestUnacknowledged: one }: Subscription) =>
    one === null ? '' : `#${one.position}, for ${span(now - Date.parse(one.since))}`,
});

const lagOf = ({ lag: { atLeast, atMost } }: Subscription): string =>
  atLeast === atMost ? String(atLeast) : `${atLeast}-${atMost}`;

function targetOf({ document }: Subscription): string {
  const target = document?.target;
  if (target === undefined) return '';
  if ('url' in target) return target.url;
  return 'service' in target ? `service ${target.service}` : 'pull';
}

function placeArgument(value: string): 'now' | 'start' | number {
  if (value === 'now' || value === 'start') return value;
  if (/^\d{1,15}$/.test(value)) return Number(value);
  throw new InvalidArgumentError('It takes now, start, or the position to begin after.');
}
