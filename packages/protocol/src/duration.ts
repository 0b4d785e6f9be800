// Durations as people write them in config, headers and flags: `250ms`, `30s`, `10m`, `2h`, `7d`.

const unitsMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** A year. Longer ones are almost always a unit mistake, and 2^31 ms (24.8 days) already needs care with timers. */
export const longestDurationMs: number = 366 * unitsMs.d;

/** Milliseconds of a duration such as `1.5s`, or undefined when it is none, negative or longer than a year. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,9})?)(ms|s|m|h|d)$/.exec(text);
  if (!match) return undefined;
  const ms = Math.round(Number(match[1]) * unitsMs[match[2] as keyof typeof unitsMs]);
  return ms <= longestDurationMs ? ms : undefined;
}

/** The shortest exact spelling: 90000 → `90s`, 120000 → `2m`. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (ms >= unitsMs[unit] && ms % unitsMs[unit] === 0) return `${ms / unitsMs[unit]}${unit}`;
  }
  return `${ms}ms`;
}
