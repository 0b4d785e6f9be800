// What the command and embedding programs use of the server.
export { ConfigError } from './config/config-error.ts';
export * from './config/config.ts';
export { optionTable, unbuiltOptions } from './config/options.ts';
export { describeConfig } from './config/print-config.ts';
export { StoreRefused } from './engine/refused.ts';
export { isStoreInUse } from './engines/sqlite/in-use.ts';
export { copyStoppedStore, type Restored, restoreStore } from './engines/sqlite/without-server.ts';
export { type Extras, type RunningServer, startServer, version } from './server.ts';
