// The fields that say how much of a limit is left (draft-ietf-httpapi-ratelimit-headers), as structured fields.

export interface Limit {
  /** What is limited, in a word. */
  name: string;
  quota: number;
  /** Time in which the quota is given out; absent where it is a number at once. */
  windowMs?: number;
  /** What is counted are requests at once, not requests in a time. */
  concurrent?: true;
  remaining: number;
  /** Until there is more. */
  untilMs: number;
}

/** Whole seconds, rounded up: whoever waits so long does not come too early. */
const seconds = (ms: number): number => Math.max(0, Math.ceil(ms / 1000));

export function limitFields({ name, quota, windowMs, concurrent, remaining, untilMs }: Limit): Record<string, string> {
  const unit = concurrent ? ';qu="concurrent-requests"' : '';
  const window = windowMs === undefined ? '' : `;w=${Math.max(1, seconds(windowMs))}`;
  return {
    'RateLimit-Policy': `"${name}";q=${quota}${unit}${window}`,
    RateLimit: `"${name}";r=${Math.max(0, remaining)};t=${seconds(untilMs)}`,
  };
}
