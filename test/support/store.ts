// What the servers of a test stand on, by the variant of this process: a test names its data, and never which engine keeps it.
import type { TestContext } from 'node:test';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { variant } from './variant.ts';

const namedStores = new WeakMap<TestContext, Map<string, Promise<string>>>();

/**
 * The `data` option for what a test calls its data: itself, or the URL of a fresh schema in the database. A test that gives the same
 * folder again gets the same schema; `:memory:` is a new one each time.
 */
export function dataOf(t: TestContext, name: string): Promise<string> {
  if (variant.engine === 'sqlite' || name.startsWith('postgres:')) return Promise.resolve(name);
  const fresh = async (): Promise<string> => (await (await import('./postgres.ts')).newStore(t)).url;
  if (name === ':memory:') return fresh();
  const known = namedStores.get(t) ?? new Map<string, Promise<string>>();
  namedStores.set(t, known);
  const store = known.get(name) ?? fresh();
  known.set(name, store);
  return store;
}

/** Loses every hint of the engine; only that it has failed, and how late it is, are still told. */
function withoutHints(engine: Engine): Engine {
  return {
    ...engine,
    onSignal: (listener) =>
      engine.onSignal((signal) => {
        if (signal.kind === 'failed' || signal.kind === 'time') listener(signal);
      }),
  };
}

/** An engine on this data, one for each node. */
export async function engineOn(data: string): Promise<Engine> {
  const { hints, pollMs } = variant;
  if (variant.engine === 'sqlite') {
    const { sqliteEngine } = await import('../../packages/server/src/engines/sqlite/engine.ts');
    return hints ? sqliteEngine({ folder: data }) : withoutHints(sqliteEngine({ folder: data }));
  }
  const { postgresEngine } = await import('../../packages/server/src/engines/postgres/engine.ts');
  const engine = postgresEngine({ url: data, hints, ...(pollMs === undefined ? {} : { pollMs }) });
  return hints ? engine : withoutHints(engine);
}
