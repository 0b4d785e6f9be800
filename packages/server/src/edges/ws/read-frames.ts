// Reads what a client says: one frame or an array of them. A message is walked once, and what is opaque in it is never taken apart.
import { streamLimits, WaitlessError } from '@waitless/protocol';
import { forbidden, forbiddenKeys, mostDepth } from '../json/call-item.ts';
import { JsonScan } from '../json/scan.ts';
import { fieldError } from '../json/shape.ts';

export interface Frame {
  type: string;
  ref: string | undefined;
  /** JSON pointer of the frame in its message. */
  at: string;
  /** Every member but `type` and `ref`; those that are opaque stand beside it, and here as `true`. */
  value: Record<string, unknown>;
  /** Bytes of `body`: those of a string, or the source text of any other value; a view on the message. */
  body: Buffer | undefined;
  /** Source text of `data`. */
  data: string | undefined;
  /** Source text of `headers`. */
  headers: Buffer | undefined;
  /** Source text of `event` and of `events`. */
  event: Buffer | undefined;
  events: Buffer | undefined;
}

/** A frame that cannot be one, with its ref as far as it could be read. */
export interface Broken {
  error: WaitlessError;
  ref: string | undefined;
}

const quote = 0x22;
const [comma, colon] = [0x2c, 0x3a];
const [openBracket, closeBracket] = [0x5b, 0x5d];
const [openBrace, closeBrace] = [0x7b, 0x7d];

/** Throws where the message as a whole is none: then nothing of it is done. */
export function readFrames(message: Buffer): (Frame | Broken)[] {
  const scan = new JsonScan(message);
  const frames: (Frame | Broken)[] = [];
  if (scan.next() === openBracket) {
    scan.take(openBracket);
    if (!scan.take(closeBracket)) {
      do {
        if (frames.length === streamLimits.messageFrames)
          throw new WaitlessError('payload-too-large', `a message has at most ${streamLimits.messageFrames} frames`);
        frames.push(readFrame(scan, `/${frames.length}`));
      } while (scan.take(comma));
      scan.need(closeBracket, 'or "," after a frame');
    }
  } else frames.push(readFrame(scan, ''));
  if (scan.next() !== undefined) throw scan.wrong('something stands after the message');
  return frames;
}

function readFrame(scan: JsonScan, at: string): Frame | Broken {
  if (scan.next() !== openBrace) {
    scan.value(mostDepth - 1);
    return {
      error: fieldError('invalid-parameter', at, 'must be an object such as {"type":"ping"}'),
      ref: undefined,
    };
  }
  scan.take(openBrace);
  const value: Record<string, unknown> = {};
  const frame: Frame = {
    type: '',
    ref: undefined,
    at,
    value,
    body: undefined,
    data: undefined,
    headers: undefined,
    event: undefined,
    events: undefined,
  };
  if (!scan.take(closeBrace)) {
    do {
      scan.string();
      const key = scan.text();
      scan.need(colon, 'after a key');
      if (forbiddenKeys.has(key)) throw forbidden(key);
      if (Object.hasOwn(value, key))
        throw new WaitlessError(
          'invalid-json',
          `the key ${JSON.stringify(key.slice(0, 64))} stands twice in one frame`,
        );
      value[key] = readMember(scan, key, frame);
    } while (scan.take(comma));
    scan.need(closeBrace, 'or "," after a field');
  }
  return withoutEnvelope(frame);
}

/** What a member is; an opaque one goes into the frame, and is `true`. */
function readMember(scan: JsonScan, key: string, frame: Frame): unknown {
  const isText = scan.next() === quote;
  if (key === 'body') {
    if (isText) {
      scan.string();
      frame.body = scan.textBytes();
    } else {
      scan.value();
      frame.body = scan.source();
    }
    return true;
  }
  if (key === 'data') {
    scan.value();
    frame.data = scan.source().toString('utf8');
    return true;
  }
  // The word of a watch for which events it wants is a text.
  if (isText) {
    scan.string();
    return scan.text();
  }
  if (key === 'event' || key === 'events') {
    scan.value();
    frame[key] = scan.source();
    return true;
  }
  scan.value(mostDepth - 2);
  if (key !== 'headers') return JSON.parse(scan.source().toString('utf8'));
  frame.headers = scan.source();
  return true;
}

function withoutEnvelope(frame: Frame): Frame | Broken {
  const { value, at } = frame;
  const { ref, type } = value;
  delete value['ref'];
  delete value['type'];
  if (ref !== undefined) {
    if (typeof ref !== 'string' || ref === '' || ref.length > streamLimits.refCharacters)
      return {
        error: fieldError(
          'invalid-parameter',
          `${at}/ref`,
          `must be a string of 1 to ${streamLimits.refCharacters} characters`,
        ),
        ref: undefined,
      };
    frame.ref = ref;
  }
  if (typeof type !== 'string')
    return {
      error: fieldError('invalid-parameter', `${at}/type`, 'is missing: it says what the frame is, such as "submit"'),
      ref: frame.ref,
    };
  frame.type = type;
  return frame;
}
