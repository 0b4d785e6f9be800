// As many ends raced against listeners as were promised.
import { test } from 'node:test';
import { raceEndsAgainstListeners } from './told-run.ts';

test('10,000 ends raced against the beginning of listening by poll, stream and WebSocket: everyone is told, nobody hangs', (t) =>
  raceEndsAgainstListeners(t, { rounds: 20, count: 500 }));
