// The rows in the order in which they are run and printed.
import type { Row } from '../support/bench.ts';
import { acceptRow } from './accept.ts';
import { ackRow } from './ack.ts';
import { batchRow } from './batch.ts';
import { e2eRow } from './e2e.ts';
import { e2eWsRow } from './e2e-ws.ts';
import { fanoutSseRow, fanoutWsRow } from './fanout.ts';
import { firstAcceptRow } from './first-202.ts';
import { idleWatchersRow } from './idle-watchers.ts';
import { keptRow } from './kept.ts';
import { logRow } from './log.ts';
import { lossRow } from './loss.ts';
import { memoryRow } from './memory.ts';
import { notifyRow } from './notify.ts';
import { peersRow } from './peers.ts';
import { postgresRow } from './postgres.ts';
import { publishPostgresRow } from './publish-postgres.ts';
import { publishRow } from './publish.ts';
import { slowDiskRow } from './slow-disk.ts';
import { slowReaderRow } from './slow-reader.ts';
import { storedRow } from './stored.ts';
import { sweepRow } from './sweep.ts';
import { unreadEventsRow, unreadOnPostgresRow } from './unread-events.ts';
import { webhookDeliveriesRow } from './webhook-deliveries.ts';

export const rows: readonly Row[] = [
  acceptRow,
  batchRow,
  publishRow,
  lossRow,
  unreadEventsRow,
  webhookDeliveriesRow,
  storedRow,
  e2eRow,
  e2eWsRow,
  ackRow,
  sweepRow,
  memoryRow,
  fanoutSseRow,
  fanoutWsRow,
  idleWatchersRow,
  slowReaderRow,
  notifyRow,
  slowDiskRow,
  postgresRow,
  publishPostgresRow,
  unreadOnPostgresRow,
  peersRow,
  keptRow,
  logRow,
  firstAcceptRow,
];
