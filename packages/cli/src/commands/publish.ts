// `waitless publish`: tells a fact to everyone who wants to know it, one event or a file full of them.
import type { EventAttributes, NewTopicEvent, PublishedEvent, PublishOptions, WaitlessClient } from '@waitless/client';
import { type Durability, durabilities } from '@waitless/protocol';
import { InvalidArgumentError, Option } from 'commander';
import { collect, type CommandContext, type CommandModule, examples, jsonOption } from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions, connectionWords } from '../connection.ts';
import { explain, Failure, wrongUsage } from '../failure.ts';
import { mediaTypeOf } from '../media-type.ts';
import { readBytes, readData } from '../read-data.ts';
import { commandLine, plain } from '../text.ts';

interface Options extends ConnectionOptions {
  data?: string;
  contentType?: string;
  type?: string;
  source?: string;
  id?: string;
  subject?: string;
  key?: string;
  attribute?: string[];
  batch?: string;
  durability?: Durability;
  json?: boolean;
}

/** What a server takes at once, and less than it takes in bytes. */
const mostTogether = 1000;
const mostBytesTogether = 4 * 1024 * 1024;
/** Options of one event, which cannot be those of each of many. */
const ofOneEvent = ['data', 'id', 'contentType'] as const;

export const publish: CommandModule = {
  name: 'publish',
  summary: 'publish an event on a topic, or a file of them',
  define(command, context) {
    examples(command, [
      `npx waitless publish orders.placed -d '{"pizza":"margherita"}'`,
      'npx waitless publish orders.placed -d @order.json --subject order-17 --key alice',
      'npx waitless publish orders.placed --batch orders.ndjson',
    ]);
    addConnectionOptions(
      command
        .argument('<TOPIC>', 'words joined by dots, such as orders.placed; it need not be made before')
        .option('-d, --data <DATA>', 'the data: text, @FILE for the bytes of a file, - for stdin')
        .option('--content-type <TYPE>', 'media type of the data (default: JSON or text where it is, else bytes)')
        .option('--type <TYPE>', "what has happened (default: the topic's name)")
        .option('--source <SOURCE>', 'who tells it')
        .option('--id <ID>', 'with the source its name: a repeat within ten minutes is stored once')
        .option('--subject <SUBJECT>', 'what it is about')
        .option('--key <KEY>', 'events of one ordering key reach an ordered subscription one after another')
        .addOption(
          new Option('--attribute <NAME=VALUE>', 'an attribute of your own; may be repeated').argParser(attribute),
        )
        .option(
          '--batch <FILE>',
          'a line of JSON for each event: its data, or a whole CloudEvent as it is; - for stdin',
        )
        .addOption(new Option('--durability <LEVEL>', 'what the answer promises').choices(durabilities))
        .addOption(jsonOption('print {"id", "position", "repeated"} for each event')),
    );
    command.action(async (topic: string, options: Options) => {
      if (options.batch === undefined) return publishOne(topic, options, context);
      for (const name of ofOneEvent)
        if (options[name] !== undefined)
          throw wrongUsage(
            `--${name === 'contentType' ? 'content-type' : name} is for one event, and --batch has many.`,
          );
      return publishMany(topic, options.batch, { options, context });
    });
  },
};

async function publishOne(topic: string, options: Options, { terminal, output }: CommandContext): Promise<void> {
  const client = await connect(options, terminal);
  const data = options.data === undefined ? undefined : await readData(options.data, { option: '-d', terminal });
  const dataContentType = options.contentType ?? (data && mediaTypeOf(data));
  const settings = { ...attributesOf(options), ...sendingOf(options, output.note) };
  const published = await client.publish(topic, data, { ...settings, id: options.id, dataContentType });
  if (options.json) output.ndjson(published);
  else output.line(published.id);
  if (!output.attended) return;
  const note = (text: string): void => output.note(output.err.dim(text));
  if (published.position === undefined)
    note('Handed over. It may be lost (durability none), and nobody can say whether it was.');
  else {
    note(
      published.repeated
        ? `This event was published before; it stands at position ${published.position}.`
        : `Stored at position ${published.position}.`,
    );
    const back = ['--from', String(published.position - 1), '--limit', '1', ...connectionWords(options)];
    note(`To see it: ${commandLine('tail', topic, ...back)}`);
  }
}

async function publishMany(
  topic: string,
  file: string,
  { options, context: { terminal, output } }: { options: Options; context: CommandContext },
): Promise<void> {
  const client = await connect(options, terminal);
  const text = Buffer.from(await readBytes(file, { option: '--batch', terminal })).toString();
  const events = eventsOf(text, attributesOf(options));
  if (events.length === 0) throw wrongUsage('--batch: there is no line in it; it takes a line of JSON for each event.');
  const sending = sendingOf(options, output.note);
  const parts = partsOf(events);
  const totals = { published: 0, repeated: 0, last: undefined as number | undefined };
  for (const part of parts) {
    const told = await publishPart(client, topic, { part, sending, published: totals.published });
    for (const one of told) {
      if (options.json) output.ndjson(one);
      else if (!output.person) output.line(one.id);
      if (one.repeated) totals.repeated++;
      totals.last = one.position ?? totals.last;
    }
    totals.published += told.length;
  }
  if (!output.attended) return;
  const again = totals.repeated === 0 ? '' : `, ${totals.repeated} of them had been before`;
  const where = totals.last === undefined ? '' : `; the last one stands at position ${totals.last}`;
  output.note(output.err.dim(`Published ${totals.published} events${again}${where}.`));
}

interface Line {
  number: number;
  event: NewTopicEvent;
  bytes: number;
}

async function publishPart(
  client: WaitlessClient,
  topic: string,
  { part, sending, published }: { part: readonly Line[]; sending: PublishOptions; published: number },
): Promise<PublishedEvent[]> {
  try {
    return await client.publishAll(
      topic,
      part.map(({ event }) => event),
      sending,
    );
  } catch (error) {
    const { sentence, exitCode } = explain(error);
    const [first, last] = [part[0]!.number, part.at(-1)!.number];
    const before = published === 0 ? '' : ` The ${published} events before them are published.`;
    throw new Failure(`lines ${first} to ${last}: ${sentence.replace(/(?<![.?!])$/, '.')}${before}`, exitCode);
  }
}

/** The lines of a file, each checked before anything is sent. */
function eventsOf(text: string, common: EventAttributes): Line[] {
  return text.split('\n').flatMap((line, index): Line[] => {
    const number = index + 1;
    const source = line.trim();
    if (source === '') return [];
    let value: unknown;
    try {
      value = JSON.parse(source);
    } catch {
      throw wrongUsage(`--batch: line ${number} is not JSON: ${plain(source.slice(0, 60))}`);
    }
    const bytes = Buffer.byteLength(source);
    const isCloudEvent = typeof value === 'object' && value !== null && Object.hasOwn(value, 'specversion');
    const event = isCloudEvent
      ? { cloudEvent: source }
      : { ...common, data: source, dataContentType: 'application/json' };
    return [{ number, bytes, event }];
  });
}

function partsOf(lines: readonly Line[]): Line[][] {
  const parts: Line[][] = [];
  let bytes = 0;
  for (const line of lines) {
    const part = parts.at(-1);
    if (part && part.length < mostTogether && bytes + line.bytes <= mostBytesTogether) part.push(line);
    else {
      parts.push([line]);
      bytes = 0;
    }
    bytes += line.bytes;
  }
  return parts;
}

const attributesOf = ({ type, source, subject, key, attribute: own }: Options): EventAttributes => ({
  type,
  source,
  subject,
  orderingKey: key,
  ...(own && {
    extensions: Object.fromEntries(
      own.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
    ),
  }),
});

function sendingOf({ durability }: Options, note: (text: string) => void): PublishOptions {
  let told = '';
  return {
    durability,
    onRetry({ message }) {
      const text = `waitless: ${plain(message)} Trying again.`;
      if (text !== told) note(text);
      told = text;
    },
  };
}

function attribute(value: string, before: readonly string[] | undefined): string[] {
  if (!/^[a-z0-9]{1,64}=./su.test(value))
    throw new InvalidArgumentError('It takes name=value; a name has lower-case letters and digits only.');
  return collect(value, before);
}
