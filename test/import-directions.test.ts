// The arrows between packages and between the server's folders point down only, so that a part can be replaced without the parts below it noticing.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkImports, readSources } from '../scripts/check-imports.mjs';

const { files, packages } = readSources(join(import.meta.dirname, '..'));

test('every import of this repository points down', () => {
  assert.ok(files.length > 0, 'the sources were found');
  assert.deepEqual(checkImports(files, packages), []);
});

const bad: Record<string, [path: string, line: string]> = {
  'protocol imports the client': ['protocol/src/a.ts', `import { x } from '@waitless/client';`],
  'protocol imports Node': ['protocol/src/a.ts', `import { join } from 'node:path';`],
  'client imports the server': ['client/src/a.ts', `export * from '@waitless/server';`],
  'client imports the server later': ['client/src/a.ts', `const x = await import('@waitless/server');`],
  'server imports the client': ['server/src/a.ts', `import '@waitless/client';`],
  'a package imports another by path': ['client/src/a.ts', `import { x } from '../../protocol/src/index.ts';`],
  'a dependency is not declared': ['server/src/a.ts', `import fastify from 'fastify';`],
  'core imports an edge': ['server/src/core/submit.ts', `import { x } from '../edges/http/router.ts';`],
  'core imports a type of an edge': ['server/src/core/submit.ts', `import type { X } from '../edges/http/router.ts';`],
  'core imports an engine': [
    'server/src/core/submit.ts',
    `import {\n  x,\n  y,\n} from '../engines/sqlite/engine.ts';`,
  ],
  'core imports config values': ['server/src/core/submit.ts', `import { options } from '../config/options.ts';`],
  'engine imports core': ['server/src/engine/engine.ts', `import { x } from '../core/submit.ts';`],
  'lib imports engine': ['server/src/lib/clock.ts', `import { x } from '../engine/engine.ts';`],
  'an edge imports an edge': ['server/src/edges/ws/a.ts', `import { x } from '../http/router.ts';`],
  'what edges share imports an edge': ['server/src/edges/auth.ts', `import { x } from './http/router.ts';`],
  'a target imports a target': ['server/src/targets/amqp.ts', `import { x } from './http.ts';`],
  'an engine imports an engine': ['server/src/engines/postgres/a.ts', `import { x } from '../sqlite/ids.ts';`],
  'a part imports the root': ['server/src/core/submit.ts', `import { serve } from '../server.ts';`],
  'another file at the top imports an engine': [
    'server/src/start.ts',
    `import { x } from './engines/sqlite/engine.ts';`,
  ],
  'source imports test support': ['server/src/lib/clock.ts', `import { x } from '../../../../test/support/clock.ts';`],
  'source imports a conformance suite': ['server/src/server.ts', `import { x } from './engine/conformance/suite.ts';`],
};

for (const [name, [path, text]] of Object.entries(bad)) {
  test(`reported: ${name}`, () => {
    const faults = checkImports([{ path: `packages/${path}`, text }], packages);
    assert.equal(faults.length, 1, 'exactly this import is reported');
    assert.ok(faults[0]?.startsWith(`packages/${path}: `), faults[0]);
  });
}

const good: Record<string, [path: string, line: string]> = {
  'the root puts all together': ['server/src/server.ts', `import { x } from './engines/sqlite/engine.ts';`],
  'core imports types of config': ['server/src/core/submit.ts', `import type { Config } from '../config/options.ts';`],
  'an edge uses what edges share': ['server/src/edges/http/router.ts', `import { x } from '../auth.ts';`],
  'a target asks who may be called': ['server/src/targets/http.ts', `import { x } from './address.ts';`],
  'a test runs the conformance suite': [
    'server/src/engines/sqlite/engine.test.ts',
    `import { x } from '../../engine/conformance/suite.ts';`,
  ],
  'the command uses everything': ['cli/src/serve.ts', `import { x } from '@waitless/server';`],
};

for (const [name, [path, text]] of Object.entries(good)) {
  test(`allowed: ${name}`, () => {
    assert.deepEqual(checkImports([{ path: `packages/${path}`, text }], packages), []);
  });
}
