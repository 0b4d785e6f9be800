// Events as lines: for a person as much as fits, for a script fields between tabs, or JSON as it came.
import type { TopicEvent } from '@waitless/client';
import type { CommandContext } from './command.ts';
import { plain, shownBytes } from './text.ts';

/** The text of data that is text. */
function textOf({ contentType, bytes, text }: TopicEvent): string | undefined {
  if (/^text\/|[/+](?:json|xml)\b/i.test(contentType)) return text();
  return bytes.length === 0 ? '' : undefined;
}

/** The data on one line; of bytes how many there are. */
export function dataLine(event: TopicEvent): string {
  const text = textOf(event);
  return text === undefined ? `<${shownBytes(event.bytes.length)} of ${event.contentType}>` : plain(text);
}

/** An event with its place, its own JSON untouched. */
export const eventJsonLine = ({ position, topic, cloudEvent }: TopicEvent): string =>
  `{"position":${position},"topic":${JSON.stringify(topic)},"event":${cloudEvent}}`;

/** Writes each event as one line. */
export function eventPrinter({ terminal, output }: CommandContext, json: boolean): (event: TopicEvent) => void {
  if (json) return (event) => output.line(eventJsonLine(event));
  if (!output.person)
    return (event) => {
      const { position, topic, type, subject = '' } = event;
      output.line([String(position), topic, type, subject, dataLine(event)].map(plain).join('\t'));
    };
  return (event) => {
    const { position, topic, type, subject = '', time = '' } = event;
    const words = [time, `#${position}`, topic, type === topic ? '' : type, subject].map(plain).filter(Boolean);
    const head = words.join('  ');
    // A line that wraps is no line; `--json` has it all.
    const room = Math.max(20, (terminal.stdout.columns ?? 120) - head.length - 2);
    const data = dataLine(event);
    const shown = data.length > room ? `${data.slice(0, room - 1)}…` : data;
    output.line(
      `${output.out.dim(words.slice(0, -1).join('  '))}${words.length > 1 ? '  ' : ''}${words.at(-1)}  ${shown}`.trimEnd(),
    );
  };
}
