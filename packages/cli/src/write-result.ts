// Gives a result to whoever asked: bytes exactly as the backend sent them, to stdout or a file.
import { writeFile } from 'node:fs/promises';
import { STATUS_CODES } from 'node:http';
import { resolve } from 'node:path';
import type { ClientResponse } from '@waitless/client';
import type { CommandContext } from './command.ts';
import { exitCodes } from './failure.ts';

export interface ResultFormat {
  /** File instead of stdout; `-` is stdout. */
  file?: string | undefined;
  /** Status line and headers first, as `curl -i` does. */
  include?: boolean | undefined;
  json?: boolean | undefined;
}

/** Writes the result and answers with the exit code: a failed operation's answer is written just the same. */
export async function writeResult(
  response: ClientResponse,
  format: ResultFormat,
  context: CommandContext,
): Promise<number> {
  const { output, terminal } = context;
  if (format.json) output.json(envelope(response));
  else {
    const head = format.include ? Buffer.from(headOf(response), 'latin1') : Buffer.alloc(0);
    const bytes = Buffer.concat([head, response.bytes]);
    if (format.file !== undefined && format.file !== '-') await writeFile(resolve(terminal.cwd, format.file), bytes);
    else {
      await output.bytes(bytes);
      // The prompt would follow the last line; stderr, because stdout has the bytes and nothing else.
      if (output.person && output.attended && bytes.length > 0 && bytes.at(-1) !== 0x0a) output.note('');
    }
  }
  if (response.operationStatus === 'succeeded') return exitCodes.success;
  output.note(
    `waitless: the operation ${response.operationStatus}: the backend answered ${response.status} ${STATUS_CODES[response.status] ?? ''}`.trimEnd() +
      '.',
  );
  return exitCodes.failure;
}

function headOf({ status, headers }: ClientResponse): string {
  const lines = [...headers].map(([name, value]) => `${name}: ${value}`);
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`.trimEnd(), ...lines, '', ''].join('\r\n');
}

/** Text as `body`, anything else as `bodyBase64`, as in the JSON envelopes of the wire. */
function envelope(response: ClientResponse): object {
  const { operationId, operationStatus, status, headers, bytes } = response;
  let body: { body: string } | { bodyBase64: string };
  try {
    body = { body: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    body = { bodyBase64: Buffer.from(bytes).toString('base64') };
  }
  return { operationId, operationStatus, status, headers: Object.fromEntries(headers), ...body };
}
