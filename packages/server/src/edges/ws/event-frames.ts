// Events as frames: put into words once for all who watch, and framed once for all of them who gave their watch the same name.
import { eventIdOf, eventJson, type OperationEvent } from '../../core/operation-events.ts';
import { messageOf, refMember, textFrame } from './text-frame.ts';

export interface EventContext {
  /** Of the operation. */
  id: string;
  base: string;
  ref: string | undefined;
}

/** Names that are kept for each batch of events: clients count theirs, so that those of many are the same. */
const mostKept = 16;

interface Kept {
  base: string;
  ref: string | undefined;
  bytes: Buffer;
}

const messages = new WeakMap<readonly OperationEvent[], Kept[]>();
const tails = new WeakMap<OperationEvent, { base: string; text: string }[]>();

/** The message that tells of these events. */
export function eventMessage(events: readonly OperationEvent[], context: EventContext): Buffer {
  const { base, ref } = context;
  let kept = messages.get(events);
  if (!kept) messages.set(events, (kept = []));
  for (const one of kept) if (one.ref === ref && one.base === base) return one.bytes;
  const bytes = textFrame(messageOf(events.map((event) => eventFrame(event, context))));
  if (kept.length < mostKept) kept.push({ base, ref, bytes });
  return bytes;
}

/** @param result JSON of the result, with the last event */
export function eventFrame(event: OperationEvent, { id, base, ref }: EventContext, result?: string): string {
  const more = result === undefined ? '' : `,"result":${result}`;
  return `{"type":"event"${refMember(ref)}${tailOf(event, { id, base })}${more}}`;
}

/** What is the same for all who know the server under one address. */
function tailOf(event: OperationEvent, { id, base }: { id: string; base: string }): string {
  let kept = tails.get(event);
  const found = kept?.find((one) => one.base === base);
  if (found) return found.text;
  const text = `,"id":"${eventIdOf(id, event.version)}","event":${eventJson(event, { id, base })}`;
  if (!kept) tails.set(event, (kept = []));
  kept.push({ base, text });
  return text;
}
