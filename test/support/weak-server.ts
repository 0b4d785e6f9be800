// A server that never syncs its disk: the deliberately broken build on which the power-cut test must report losses. Takes the path of
// a config file, prints its URL.
import { readFileSync } from 'node:fs';
import { resolveConfig, startServer } from '@waitless/server';
import { sqliteEngine } from '../../packages/server/src/engines/sqlite/engine.ts';

const document = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Record<string, unknown>;
const { config } = resolveConfig({ document, env: {}, cwd: process.cwd() });
const server = await startServer(config, { engine: sqliteEngine({ folder: config.data, synchronous: 'OFF' }) });
process.once('SIGTERM', () => void server.stop());
console.log(server.url);
