// What the tester knows for certain, written by the tester alone: one line per operation, and the judgement over what the server holds after faults.
//
// Outcomes: `ok` a 2xx was received; `fail` a definite refusal (4xx, 507, 503 with accepted: false); `info` anybody's guess
// (connection lost, timeout, 502, 504). The classes are those of RabbitMQ's checker: `lost` is ok but not there, `recovered` is info
// and there (legal), `unexpected` is refused or never sent, yet there.
import { appendFileSync, readFileSync } from 'node:fs';

export type Outcome = 'ok' | 'fail' | 'info';

export interface LedgerLine {
  /** Milliseconds since 1970, by the tester's clock. */
  t: number;
  /** What was asked: `submit` or `reply`. */
  op: string;
  /** The tester's own name of the operation: its Correlation-Id and Idempotency-Key. */
  key: string;
  /** SHA-256 of the body that was sent. */
  bodySha: string;
  outcome: Outcome;
  /** Operation id, where one was given. */
  id?: string;
  /** Status or error, for whoever reads the file. */
  detail?: string;
}

/** An operation that the server holds after the faults. */
export interface Seen {
  key: string;
  id: string;
  /** SHA-256 of the request body as it was handed out, or of an echo of it. */
  bodySha: string;
  /** Every look at its result. */
  resultShas: readonly string[];
  /** It had not ended before the judgement began. */
  pending: boolean;
}

export interface Verdict {
  ok: number;
  fail: number;
  info: number;
  lost: string[];
  recovered: string[];
  unexpected: string[];
  /** One key, several operations. */
  duplicated: string[];
  /** One operation, several results. */
  duplicatedResult: string[];
  /** There, but not what was sent, or under another id than the one acknowledged. */
  wrong: string[];
}

export class Ledger {
  readonly #path: string;
  readonly #lines: LedgerLine[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  get lines(): readonly LedgerLine[] {
    return this.#lines;
  }

  add(line: Omit<LedgerLine, 't'>): void {
    const whole = { t: Date.now(), ...line };
    this.#lines.push(whole);
    appendFileSync(this.#path, `${JSON.stringify(whole)}\n`);
  }

  /** The last word about each key: a repeat that was acknowledged settles what was anybody's guess before. */
  last(op: string): Map<string, LedgerLine> {
    const rank = { fail: 0, info: 1, ok: 2 };
    const found = new Map<string, LedgerLine>();
    for (const line of this.#lines) {
      const known = found.get(line.key);
      if (line.op === op && (!known || rank[line.outcome] >= rank[known.outcome])) found.set(line.key, line);
    }
    return found;
  }

  /** A ledger as its file tells it. */
  static read(path: string): LedgerLine[] {
    return readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as LedgerLine);
  }
}

/** Holds what the tester was told against what the server holds. */
export function classify(told: ReadonlyMap<string, LedgerLine>, seen: readonly Seen[]): Verdict {
  const count = (outcome: Outcome): number => [...told.values()].filter((line) => line.outcome === outcome).length;
  const verdict: Verdict = {
    ok: count('ok'),
    fail: count('fail'),
    info: count('info'),
    lost: [],
    recovered: [],
    unexpected: [],
    duplicated: [],
    duplicatedResult: [],
    wrong: [],
  };
  const held = new Map<string, Seen[]>();
  for (const one of seen) held.set(one.key, [...(held.get(one.key) ?? []), one]);

  for (const [key, line] of told) if (line.outcome === 'ok' && !held.has(key)) verdict.lost.push(key);
  for (const [key, ones] of held) {
    const line = told.get(key);
    if (!line || line.outcome === 'fail') verdict.unexpected.push(key);
    else if (line.outcome === 'info') verdict.recovered.push(key);
    if (ones.length > 1) verdict.duplicated.push(key);
    for (const { id, bodySha, resultShas } of ones) {
      if (new Set(resultShas).size > 1) verdict.duplicatedResult.push(key);
      if (line && (line.bodySha !== bodySha || (line.id !== undefined && line.id !== id))) verdict.wrong.push(key);
    }
  }
  return verdict;
}

/** Why a run proves nothing, or undefined: too little happened between two faults, or too much is anybody's guess. */
export function whyVoid(lines: readonly LedgerLine[], faultTimes: readonly number[]): string | undefined {
  const times = lines.filter(({ outcome }) => outcome === 'ok').map(({ t }) => t);
  let from = Number.NEGATIVE_INFINITY;
  for (const [index, at] of faultTimes.entries()) {
    const acknowledged = times.filter((t) => t > from && t <= at).length;
    if (acknowledged < 50) return `only ${acknowledged} acknowledged before fault ${index + 1}`;
    from = at;
  }
  const info = lines.filter(({ outcome }) => outcome === 'info').length;
  return info > lines.length / 10 ? `${info} of ${lines.length} outcomes are unknown` : undefined;
}

/** One line for the test's output. */
export const summary = ({
  ok,
  fail,
  info,
  lost,
  recovered,
  unexpected,
  duplicated,
  duplicatedResult,
  wrong,
}: Verdict): string =>
  `${ok} ok, ${fail} fail, ${info} info: ${lost.length} lost, ${recovered.length} recovered, ${unexpected.length} unexpected, ` +
  `${duplicated.length + duplicatedResult.length} duplicated, ${wrong.length} wrong`;
