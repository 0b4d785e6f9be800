import { onPostgres } from '../support/on-postgres.ts';
await onPostgres({ nodes: 2 }, [() => import('./websocket.test.ts')]);
