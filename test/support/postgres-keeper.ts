// Holds the one cluster of a test run, as a process of scripts/shared-postgres.mjs: says its address, and ends it when its own input ends.
import { startCluster } from './postgres-cluster.ts';

try {
  const cluster = await startCluster();
  process.stdout.write(`${JSON.stringify({ url: cluster.url() })}\n`);
  for await (const _ of process.stdin);
  await cluster.remove();
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: (error as Error).message })}\n`);
}
