// What is to be sent, as the option says: text, the bytes of a file, or standard input.
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { systemSentence, wrongUsage } from './failure.ts';
import type { Terminal } from './terminal.ts';

export interface ReadFrom {
  /** Named in what is said of a file that cannot be read. */
  option: string;
  terminal: Terminal;
}

/** Text is itself, `@FILE` the bytes of a file, `-` standard input. */
export async function readData(data: string, from: ReadFrom): Promise<Uint8Array> {
  if (data === '-' || data === '@-') return buffer(from.terminal.stdin);
  return data.startsWith('@') ? readBytes(data.slice(1), from) : Buffer.from(data);
}

/** The bytes of a file, `-` for standard input. */
export async function readBytes(file: string, { option, terminal }: ReadFrom): Promise<Uint8Array> {
  if (file === '-') return buffer(terminal.stdin);
  try {
    return await readFile(resolve(terminal.cwd, file));
  } catch (error) {
    throw wrongUsage(`${option}: ${systemSentence(error as NodeJS.ErrnoException)}`);
  }
}
