// What a topic keeps, as it is put over the API and shown: the strict check, every field used or refused by its JSON pointer.
import { formatDuration, WaitlessError } from '@waitless/protocol';
import { WrongValue } from './config-error.ts';
import { isFields } from './config-file.ts';
import { didYouMean } from './nearest.ts';
import { durationValue, formatSize, sizeValue } from './values.ts';

/** What a topic keeps. The hard limits hold whoever has still to read; a limit that is not given does not exist. */
export interface TopicRetention {
  maxAgeMs: number;
  maxBytes: number | undefined;
  hardAgeMs: number;
  hardBytes: number | undefined;
}

/** What a document says; what it leaves out is as for every topic. */
export interface TopicConfig {
  readonly maxAgeMs: number | undefined;
  readonly maxBytes: number | undefined;
  readonly hardAgeMs: number | undefined;
  readonly hardBytes: number | undefined;
}

const fields = ['maxAge', 'maxBytes', 'hardMaxAge', 'hardMaxBytes'] as const;
export const mostTopicBytes: number = 1024 ** 5;

/** Those who have still to read get this much more than the others need. */
const hardFactor = 4;

function wrong(code: 'unknown-field' | 'invalid-parameter', field: string, detail: string): WaitlessError {
  const pointer = field === '' ? '' : `/${field.slice(0, 64).replaceAll('~', '~0').replaceAll('/', '~1')}`;
  return new WaitlessError(code, `${pointer || 'the document'}: ${detail}`, {
    members: { errors: [{ pointer, detail }] },
  });
}

/** Throws WaitlessError that names the field by its JSON pointer. */
export function readApiTopic(document: unknown): TopicConfig {
  if (!isFields(document)) throw wrong('invalid-parameter', '', 'it must be an object such as {"maxAge": "30d"}');
  for (const name of Object.keys(document))
    if (!(fields as readonly string[]).includes(name))
      throw wrong('unknown-field', name, `there is no such field${didYouMean(name, fields)}`);
  const take = (name: (typeof fields)[number], read: (value: unknown) => number): number | undefined => {
    if (!Object.hasOwn(document, name)) return undefined;
    try {
      return read(document[name]);
    } catch (error) {
      if (error instanceof WrongValue) throw wrong('invalid-parameter', name, error.message);
      throw error;
    }
  };
  const size = (value: unknown): number => sizeValue(value, { min: 1, max: mostTopicBytes });
  return {
    maxAgeMs: take('maxAge', (value) => durationValue(value)),
    maxBytes: take('maxBytes', size),
    hardAgeMs: take('hardMaxAge', (value) => durationValue(value)),
    hardBytes: take('hardMaxBytes', size),
  };
}

/** With every default filled in. */
export function retentionFrom(
  { maxAgeMs, maxBytes, hardAgeMs, hardBytes }: TopicConfig,
  usual: Pick<TopicRetention, 'maxAgeMs' | 'maxBytes'>,
): TopicRetention {
  const age = maxAgeMs ?? usual.maxAgeMs;
  const bytes = maxBytes ?? usual.maxBytes;
  return {
    maxAgeMs: age,
    maxBytes: bytes,
    hardAgeMs: hardAgeMs ?? hardFactor * age,
    hardBytes: hardBytes ?? (bytes === undefined ? undefined : hardFactor * bytes),
  };
}

/** Throws where a hard limit would come before the soft one. */
export function checkRetention({ maxAgeMs, maxBytes, hardAgeMs, hardBytes }: TopicRetention): void {
  if (hardAgeMs < maxAgeMs)
    throw wrong(
      'invalid-parameter',
      'hardMaxAge',
      `${formatDuration(hardAgeMs)} is shorter than the maxAge ${formatDuration(maxAgeMs)}; set it to at least that`,
    );
  if (hardBytes !== undefined && (maxBytes === undefined || hardBytes < maxBytes))
    throw wrong(
      'invalid-parameter',
      'hardMaxBytes',
      maxBytes === undefined
        ? 'it takes a maxBytes beside it, which is for the time when nobody has still to read'
        : `${formatSize(hardBytes)} is less than the maxBytes ${formatSize(maxBytes)}; set it to at least that`,
    );
}

/** As it could be put again. */
export const shownRetention = ({
  maxAgeMs,
  maxBytes,
  hardAgeMs,
  hardBytes,
}: TopicRetention): Record<string, string> => ({
  maxAge: formatDuration(maxAgeMs),
  ...(maxBytes === undefined ? {} : { maxBytes: formatSize(maxBytes) }),
  hardMaxAge: formatDuration(hardAgeMs),
  ...(hardBytes === undefined ? {} : { hardMaxBytes: formatSize(hardBytes) }),
});
