// The engine of the tests is the one in a file without the file: the same promises, but for those that outlive the process.
import { test } from 'node:test';
import { conformance } from '../../engine/conformance/conformance.ts';
import { sqliteEngine } from './engine.ts';

conformance(
  {
    name: 'sqlite in memory',
    create: async () => ({ engine: () => sqliteEngine({ folder: ':memory:' }), destroy: async () => {} }),
  },
  { test, durable: false, shared: false },
);
