// Runs test files again with servers on PostgreSQL, or says why not: a run without a database must be seen to have left something out.
import { test } from 'node:test';
import { postgresMissing } from './postgres.ts';
import { type Variant, variant } from './variant.ts';

/** `files` are imported once the variant is set, and before the first test of the process begins. */
export async function onPostgres(
  how: Pick<Variant, 'nodes'> & Partial<Variant>,
  files: readonly (() => Promise<unknown>)[],
): Promise<void> {
  Object.assign(variant, { engine: 'postgres', ...how } satisfies Partial<Variant>);
  const missing = postgresMissing();
  if (missing !== undefined) return void test('on PostgreSQL', (t) => t.skip(`skipped: ${missing}`));
  for (const load of files) await load();
}
