// Rates such as `100/s`: how many submits a namespace may send a service in a second, a minute or an hour.
import type { RateLimit } from './config-shape.ts';
import { WrongValue } from './config-error.ts';
import { show } from './values.ts';

const windows = { s: 1_000, m: 60_000, h: 3_600_000 } as const;
const most = 1_000_000_000;

/** `100/s`, `600/m` or `1000/h`. Throws WrongValue. */
export function rateValue(value: unknown): RateLimit {
  const match = typeof value === 'string' ? /^(\d{1,10})\/([smh])$/.exec(value) : null;
  const requests = Number(match?.[1]);
  if (match === null || requests < 1 || requests > most)
    throw new WrongValue(
      `${show(value)} is not a rate; write how many in a second, a minute or an hour, such as 100/s, 600/m or 1000/h`,
    );
  return Object.freeze({ requests, windowMs: windows[match[2] as keyof typeof windows] });
}

/** As it was written. */
export function formatRate({ requests, windowMs }: RateLimit): string {
  const unit = Object.entries(windows).find(([, ms]) => ms === windowMs)![0];
  return `${requests}/${unit}`;
}
