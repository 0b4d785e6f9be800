// A browser's own EventSource misses nothing while the server under it is killed, and is told when there is no more.
import { test } from 'node:test';
import { withoutBrowser } from '../support/browser.ts';
import { watchThroughKills } from './event-source-run.ts';

test(
  'a page that watches while the server is killed 3 times sees every event once, up to the last',
  { skip: withoutBrowser, timeout: 120_000 },
  (t) => watchThroughKills(t, 3),
);
