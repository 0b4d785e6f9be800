// Who is to be told of an operation: parts of the statements that store, end and report on operations, and of those that find a place to send to.
//
// Locks are taken in one order everywhere: operations by number, outlets by namespace and name, what stands under shares. A delivery that is open is changed
// only by who holds its outlet.
import type { CallbackWanted } from '../../engine/deliveries.ts';
import { textArray, int4Array } from './arrays.ts';

/** Columns of callbacks in a statement's input, and the parameters that bring them from number `from` on. */
export const callbackColumns = 'cb_url, cb_outlet, cb_correlation, cb_progress, cb_thin, cb_base';
export const callbackParameters = (from: number): string =>
  ['text', 'text', 'text', 'int4', 'int4', 'text'].map((type, i) => `$${from + i}::${type}[]`).join(', ');

export const callbackValues = (all: readonly (CallbackWanted | null | undefined)[]): Buffer[] => [
  textArray(all.map((c) => c?.url ?? null)),
  textArray(all.map((c) => c?.outlet ?? null)),
  textArray(all.map((c) => c?.correlationId ?? null)),
  int4Array(all.map((c) => (c ? Number(c.progress) : null))),
  int4Array(all.map((c) => (c ? Number(c.thin) : null))),
  textArray(all.map((c) => c?.base ?? null)),
];

/** Stores the callbacks of `rows`, which has their columns; `n` is their number within the operation. */
export const storeCallbacks = (rows: string, n: string): string =>
  `INSERT INTO callback (seq, n, url, outlet, correlation, progress, thin, base)
  SELECT seq, ${n}, cb_url, cb_outlet, cb_correlation, cb_progress = 1, cb_thin = 1, cb_base FROM ${rows} WHERE cb_url IS NOT NULL`;

/**
 * Finds the outlets of `rows` (namespace, name, due_at), makes those that are new, and holds them: something is added to each. At its limit an outlet has
 * nothing due until one of those under way is back.
 */
export const reachOutlets = (
  rows: string,
): string => `INSERT INTO outlet AS x (namespace, name, due_at) ${rows} ORDER BY 1, 2
  ON CONFLICT (namespace, name) DO UPDATE SET rev = x.rev + 1,
    due_at = CASE WHEN x.full_at IS NULL THEN least(x.due_at, greatest(excluded.due_at, x.blocked_until)) END
  RETURNING id, namespace, name`;

/**
 * Condition on operation `o`, whose row is held: the statement sees all of its callbacks. One may have been added since it began, and must not miss the end;
 * who finds the condition unmet asks again.
 */
export const seesCallbacks = `(o.callbacks IS NULL OR o.callbacks = (SELECT count(*) FROM callback c WHERE c.seq = o.seq))`;

/**
 * Part of a statement that ends or reports on operations: a delivery for each callback. `which` gives seq, queue and version; $1 is now.
 * Outlets are looked up in one value: a join of many with many, which the planner can only do one by one here, would take seconds in the worst case.
 */
export const tellCallbacks = (which: string, wanted = ''): string => `told AS MATERIALIZED (
  SELECT e.seq, e.version, q.namespace, c.n, c.outlet FROM (${which}) e
  CROSS JOIN LATERAL (SELECT namespace COLLATE "C" AS namespace FROM queue q WHERE q.id = e.queue LIMIT 1) q
  CROSS JOIN LATERAL (SELECT n, outlet FROM callback c WHERE c.seq = e.seq ${wanted} ORDER BY n LIMIT 1000) c
), outlets AS (
  ${reachOutlets('SELECT namespace, outlet, $1::int8 FROM told GROUP BY namespace, outlet')}
), deliveries AS (
  INSERT INTO delivery (seq, callback, version, namespace, outlet, at, created_at)
  SELECT t.seq, t.n, t.version, t.namespace, (p.ids ->> (t.namespace || ' ' || t.outlet))::int8, $1::int8, $1::int8
  FROM told t CROSS JOIN (SELECT jsonb_object_agg(namespace || ' ' || name, id) AS ids FROM outlets) p ORDER BY t.seq, t.n
)`;
