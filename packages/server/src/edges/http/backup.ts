// Asking the server for a backup over HTTP, and looking how far it is. The copy stays on the server's side: it holds every namespace.
import { parsePrefer, WaitlessError } from '@waitless/protocol';
import type { Backup, Backups } from '../../core/backups.ts';
import type { Live } from '../../core/live.ts';
import { isoTime } from '../../lib/clock.ts';
import { pause } from '../../lib/service.ts';
import { type Handler, jsonAnswer } from './exchange.ts';
import { jsonBody } from './json-body.ts';
import { requireOperator } from './operator.ts';
import { Shape } from '../json/shape.ts';

export interface BackupDependencies {
  backups: Backups;
  live: Pick<Live, 'onStop'>;
  maxWaitMs: number;
}

const controlBytes = 256 * 1024;

export function backupHandlers({ backups, live, maxWaitMs }: BackupDependencies) {
  const make: Handler = async (exchange) => {
    requireOperator(exchange, 'make backups');
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    new Shape(value, '', []);
    const { waitSeconds } = parsePrefer(exchange.headers('prefer'));
    const ended = backups.begin();
    // Whoever asked may go: the backup goes on.
    const over = new AbortController();
    const unhear = live.onStop(() => over.abort());
    const waiting = AbortSignal.any([over.signal, exchange.signal]);
    const waitMs = waitSeconds === undefined ? maxWaitMs : Math.min(waitSeconds * 1000, maxWaitMs);
    const made = await Promise.race([ended, pause(waitMs, waiting).then(() => undefined)]);
    over.abort();
    unhear();
    const backup = made ?? backups.last!;
    if (backup.error) throw backup.error;
    if (backup.state === 'done') return jsonAnswer(200, backupJson(backup));
    return jsonAnswer(202, backupJson(backup), ['Retry-After', '1', 'Location', `${exchange.base}/v1/backup`]);
  };

  const look: Handler = (exchange) => {
    requireOperator(exchange, 'look at backups');
    if (!backups.last)
      throw new WaitlessError(
        'not-found',
        'no backup was made since the server has started; POST /v1/backup makes one',
      );
    return jsonAnswer(200, backupJson(backups.last));
  };

  return { make, look };
}

function backupJson({ state, file, bytes, startedAt, createdAt, copiedBytes, totalBytes, error }: Backup): string {
  return JSON.stringify({
    state,
    file,
    bytes,
    startedAt: isoTime(startedAt),
    createdAt: isoTime(createdAt),
    copiedBytes,
    totalBytes,
    error:
      error === null
        ? null
        : { code: error instanceof WaitlessError ? error.code : 'internal-error', message: error.message },
  });
}
