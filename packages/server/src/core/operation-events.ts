// The events of one operation, made from its record and the rows of its timeline alone. Pure.
//
// An operation's own position is its version, and no event is written for itself: every version tells what it was. 1 is the acceptance, a row
// is what it says, the last version of an ended operation is its end, and of the others the one that follows a queued state began an attempt.
import { errorTable, type OperationEventKind, type OperationStatus } from '@waitless/protocol';
import type { OperationRecord, TimelineRow } from '../engine/engine.ts';
import { isoTime } from '../lib/clock.ts';
import { progressJson } from './document.ts';
import type { Ended } from './live.ts';

/** One change of an operation. The same object for all who are told of it, so that it is put into words once. */
export interface OperationEvent {
  version: number;
  kind: OperationEventKind;
  /** Its last one. */
  done: boolean;
  /** When it happened. */
  at: number;
  /** JSON members without the outer braces, but for those that need the address under which the reader knows the server. */
  members: string;
  /** Of the last event. */
  end?: Pick<OperationRecord, 'error' | 'reference'>;
}

export const eventIdOf = (id: string, version: number): string => `${id}_${version}`;

/** The version that an event id of this operation names; undefined for anything else. */
export function versionOf(eventId: string, id: string): number | undefined {
  if (!eventId.startsWith(`${id}_`)) return undefined;
  const digits = eventId.slice(id.length + 1);
  return /^[1-9]\d{0,14}$/.test(digits) ? Number(digits) : undefined;
}

/**
 * The events after version `after`, up to `upTo`. The rows are those from `after` on, itself included, up to `upTo`; where that is not all of them,
 * also the end of the attempt that was under way then.
 */
export function eventsOf(
  record: OperationRecord,
  rows: readonly TimelineRow[],
  { id, after, upTo = record.version }: { id: string; after: number; upTo?: number },
): OperationEvent[] {
  const byVersion = new Map(rows.map((row) => [row.version, row]));
  const ends = rows.filter((row) => row.kind === 'attempt');
  const queuedAt = (version: number): boolean => version === 1 || byVersion.get(version)?.kind === 'attempt';
  const events: OperationEvent[] = [];
  for (let version = after + 1; version <= Math.min(upTo, record.version); version++) {
    const row = byVersion.get(version);
    const ended = version === record.version && record.finishedAt !== null;
    const end = ends.find((one) => one.version > version);
    const about = { record, id, version, row, end, before: byVersion.get(version - 1) };
    events.push(
      ended
        ? endEvent(about)
        : row?.kind === 'progress'
          ? progressEvent(about, row)
          : queuedAt(version)
            ? queuedEvent(about)
            : runningEvent(about, queuedAt(version - 1)),
    );
  }
  return events;
}

interface About {
  record: OperationRecord;
  id: string;
  version: number;
  /** Of this version. */
  row: TimelineRow | undefined;
  /** How the next attempt ended that did not end the operation. */
  end: TimelineRow | undefined;
  /** Of the version before. */
  before: TimelineRow | undefined;
}

function make(
  {
    record,
    id,
    version,
  }: Pick<About, 'id' | 'version'> & {
    record: Pick<OperationRecord, 'service' | 'correlationId'>;
  },
  kind: OperationEventKind,
  { at, attempt, more = '' }: { at: number; attempt: number; more?: string },
): OperationEvent {
  const status: OperationStatus = kind === 'progress' ? 'running' : kind;
  const done = kind !== 'queued' && status !== 'running';
  const correlationId = JSON.stringify(record.correlationId ?? id);
  return {
    version,
    kind,
    done,
    at,
    members:
      `"eventId":"${eventIdOf(id, version)}","type":"waitless.operation.${kind}","id":"${id}","service":"${record.service}","correlationId":${correlationId},` +
      `"status":"${status}","done":${done},"version":${version},"updatedAt":"${isoTime(at)}","attempt":${attempt}${more}`,
  };
}

function queuedEvent(about: About): OperationEvent {
  const { record, version, row, end } = about;
  // A lease counts an attempt and what gives it back takes it away again, so the next one tells how many there were.
  const begunAgain =
    record.version > version && !(record.finishedAt !== null && record.version === version + 1 && end === undefined);
  const attempt = Math.max(0, end ? end.attempt - 1 : begunAgain ? record.attempt - 1 : record.attempt);
  if (!row) {
    // The delay that it began with is forgotten once it has passed.
    const runAt = record.version === 1 ? `,"runAt":${JSON.stringify(isoTime(record.runAt))}` : '';
    return make(about, 'queued', { at: record.createdAt, attempt: 0, more: runAt });
  }
  const { outcome, backendStatus, detail } = row;
  const lastAttempt = JSON.stringify({ attempt: row.attempt, outcome, backendStatus, detail });
  return make(about, 'queued', {
    at: row.at,
    attempt,
    more: `,"runAt":${JSON.stringify(isoTime(row.nextAt))},"lastAttempt":${lastAttempt}`,
  });
}

/** `begun`: an attempt began; otherwise the backend said that it answers later, a moment that only the newest version has kept. */
function runningEvent(about: About, begun: boolean): OperationEvent {
  const { record, version, end, before } = about;
  const beganAt = Math.max(
    (end ? end.startedAt : record.attemptAt) ?? record.createdAt,
    record.createdAt,
    before?.at ?? 0,
  );
  return make(about, 'running', {
    at: !begun && version === record.version ? record.updatedAt : beganAt,
    attempt: end?.attempt ?? record.attempt,
    more: `,"startedAt":${JSON.stringify(isoTime(record.startedAt))}${begun ? ',"runAt":null' : ''}`,
  });
}

const progressEvent = (about: About, { at, attempt, progress }: TimelineRow): OperationEvent =>
  make(about, 'progress', { at, attempt, more: `,"progress":${progressJson(progress)}` });

/** What the last event tells, beside what every event does. */
export type EndOfOperation = Ended & Pick<OperationRecord, 'service' | 'correlationId' | 'version'>;

/** The last event of an operation that has ended, for those who are told of no other. */
export const lastEvent = (record: EndOfOperation, id: string): OperationEvent =>
  endEvent({ record, id, version: record.version });

function endEvent(about: Pick<About, 'id' | 'version'> & { record: EndOfOperation }): OperationEvent {
  const { record } = about;
  const { status, finishedAt, expiresAt, error, reference } = record;
  const more = `,"runAt":null,"finishedAt":"${isoTime(finishedAt)}","expiresAt":${JSON.stringify(isoTime(expiresAt))}`;
  const event = make(about, status as OperationEventKind, { at: finishedAt!, attempt: record.attempt, more });
  return { ...event, end: { error, reference } };
}

/** JSON of an event for readers who know the server under this address. */
export function eventJson({ members, end }: OperationEvent, { id, base }: { id: string; base: string }): string {
  if (!end) return `{${members}}`;
  const { error, reference } = end;
  const told = error && {
    ...error,
    ...(error.code in errorTable ? { type: `${base}/problems/${error.code}` } : {}),
  };
  const location = reference ?? `${base}/v1/operations/${id}/result`;
  return `{${members},"resourceLocation":${JSON.stringify(location)},"error":${JSON.stringify(told)}}`;
}
