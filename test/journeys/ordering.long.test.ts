// As many ordering keys, messages and killed workers as were promised.
import { test } from 'node:test';
import { runInOrder } from './ordering-run.ts';

test('50 ordering keys with 400 messages each over 8 workers, many of them killed: no key out of order, none two at a time', (t) =>
  runInOrder(t, { keys: 50, messages: 400, workers: 8, dies: 30 }));
