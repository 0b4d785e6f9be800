// The YAML library, loaded when a config file is read or printed: every start would pay for it otherwise, and most have no file.
import { createRequire } from 'node:module';

type Yaml = typeof import('yaml');

let loaded: Yaml | undefined;

/** Reads it once. Synchronous, like the configuration that is read before anything runs. */
export const yaml = (): Yaml => (loaded ??= createRequire(import.meta.url)('yaml') as Yaml);
