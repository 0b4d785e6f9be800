// What stands in the way of a backup or restore without a server, as a sentence and an exit code.
import { exitCodes, Failure } from './failure.ts';
import { plain } from './text.ts';

/** @param file the one that was given, as it was written */
export function storeFailure(error: unknown, file: string): unknown {
  const { name, message, code, kind } = error as { name?: string; message: string; code?: string; kind?: string };
  if (name === 'StoreRefused') return new Failure(`${plain(message)}.`, exitCodes.configuration);
  if (name === 'NoStore')
    return new Failure(`${file}: ${plain(message)}.`, kind === 'newer' ? exitCodes.configuration : exitCodes.failure);
  if (code === 'ENOSPC' || code === 'SQLITE_FULL')
    return new Failure('there is not enough room on the disk for the copy; free some.');
  return error;
}
