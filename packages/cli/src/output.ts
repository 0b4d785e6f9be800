// How results and messages are written: results to stdout, messages to stderr, colour and padding only for a person at a terminal.
import type { OperationStatus } from '@waitless/client';
import picocolors from 'picocolors';
import type { OutputStream, Terminal } from './terminal.ts';
import { plain } from './text.ts';

type Colours = ReturnType<typeof picocolors.createColors>;

export interface Column<Row> {
  title: string;
  /** Plain text; control characters are taken out. */
  text: (row: Row) => string;
  /** For a person, where it should differ from what a script gets. */
  person?: (row: Row) => string;
  colour?: (row: Row, text: string) => string;
  right?: boolean;
}

export interface Output {
  /** Colours of stdout and of stderr; identity functions where there is no terminal. */
  out: Colours;
  err: Colours;
  /** Whether a person reads stdout. */
  person: boolean;
  /** Whether a person reads stderr. */
  attended: boolean;
  /** One line of result. */
  line: (text: string) => void;
  /** One line of message. */
  note: (text: string) => void;
  /** One JSON document, indented for a person and on one line otherwise. */
  json: (value: unknown) => void;
  /** One line of NDJSON. */
  ndjson: (value: unknown) => void;
  /** Padded with titles for a person; without titles and separated by tabs for a script. */
  table: <Row>(columns: readonly Column<Row>[], rows: readonly Row[]) => void;
  /** Bytes exactly as they are; resolves when they are handed over. */
  bytes: (bytes: Uint8Array) => Promise<void>;
  status: (status: OperationStatus, text?: string) => string;
}

/** https://no-color.org: any value but the empty one switches colour off. */
function coloursFor(stream: OutputStream, env: Terminal['env']): Colours {
  return picocolors.createColors(stream.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb');
}

export function createOutput(terminal: Terminal): Output {
  const { stdout, stderr, env } = terminal;
  const out = coloursFor(stdout, env);
  const person = stdout.isTTY === true;
  const line = (text: string): void => void stdout.write(`${text}\n`);
  return {
    out,
    err: coloursFor(stderr, env),
    person,
    attended: stderr.isTTY === true,
    line,
    note: (text) => void stderr.write(`${text}\n`),
    json: (value) => line(JSON.stringify(value, null, person ? 2 : undefined)),
    ndjson: (value) => line(JSON.stringify(value)),
    table(columns, rows) {
      if (!person) {
        for (const row of rows) line(columns.map((column) => plain(column.text(row))).join('\t'));
        return;
      }
      const cells = rows.map((row) => columns.map((column) => plain((column.person ?? column.text)(row))));
      const widths = columns.map((column, index) =>
        Math.max(column.title.length, ...cells.map((row) => row[index]!.length)),
      );
      const pad = (text: string, index: number): string =>
        columns[index]!.right
          ? text.padStart(widths[index]!)
          : index === columns.length - 1
            ? text
            : text.padEnd(widths[index]!);
      line(
        columns
          .map((column, index) => out.dim(pad(column.title, index)))
          .join('  ')
          .trimEnd(),
      );
      for (const [number, row] of rows.entries()) {
        line(
          columns
            .map((column, index) => {
              const text = pad(cells[number]![index]!, index);
              return column.colour ? column.colour(row, text) : text;
            })
            .join('  ')
            .trimEnd(),
        );
      }
    },
    bytes: (bytes) =>
      new Promise((resolve, reject) => stdout.write(bytes, (error) => (error ? reject(error) : resolve()))),
    status: (status, text = status) => paint(out, status, text),
  };
}

/** The same colour for a state everywhere. */
export function paint(colours: Colours, status: OperationStatus, text: string): string {
  switch (status) {
    case 'succeeded':
      return colours.green(text);
    case 'failed':
      return colours.red(text);
    case 'cancelled':
      return colours.gray(text);
    case 'running':
      return colours.cyan(text);
    case 'queued':
      return colours.yellow(text);
  }
}
