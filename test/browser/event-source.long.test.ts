// The same as event-source.test.ts, with as many kills as were promised.
import { test } from 'node:test';
import { withoutBrowser } from '../support/browser.ts';
import { watchThroughKills } from './event-source-run.ts';

test(
  'a page that watches while the server is killed 20 times sees every event once, up to the last',
  { skip: withoutBrowser, timeout: 600_000 },
  (t) => watchThroughKills(t, 20),
);
