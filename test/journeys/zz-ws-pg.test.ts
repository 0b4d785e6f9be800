import { onPostgres } from '../support/on-postgres.ts';
await onPostgres({ nodes: 2, hints: false, pollMs: 20 }, [() => import('./websocket.test.ts')]);
