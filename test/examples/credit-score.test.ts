// The credit-score example does what its README says, from one command to the last process stopped.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runExample } from '../support/example.ts';

const script = fileURLToPath(new URL('../../examples/credit-score/run.mjs', import.meta.url));

test('the whole story: waited for, polled for, called back, from the store, all at once and forgotten, and nothing is left running', async (t) => {
  // The bureaus need a tenth of their usual time.
  const output = await runExample(t, { script, env: { BUREAU_PACE: '0.1' }, processes: 3 });

  const ways = [...output.matchAll(/^ {2}(waiting|polling|callback) +score (\d+) +the client got operation (\w+)$/gm)];
  assert.deepEqual(
    ways.map(([, way]) => way),
    ['waiting', 'polling', 'callback'],
  );
  const scores = ways.map(([, , score]) => Number(score));
  assert.ok(scores.every((score) => score >= 300 && score <= 850));
  const ids = ways.map(([, , , id]) => id!);
  assert.equal(new Set(ids).size, 3);

  const seenByBackend = [...output.matchAll(/backend says: \S+ for customer (\d+), operation (\w+)$/gm)];
  assert.deepEqual(
    seenByBackend.map(([, customer]) => customer),
    ['42', '43', '44', '45'],
    'each customer is computed once, however often and by however many it is asked for',
  );
  assert.deepEqual(
    seenByBackend.slice(0, 3).map(([, , id]) => id),
    ids,
  );
  // What the wire showed, not the summary: the ids of the answers, a receipt before the result, progress before the end.
  const [, polling = '', callback = '', stored = '', crowd = '', forgotten = ''] = output
    .split(/^\([a-f]\) /m)
    .slice(1);
  assert.match(
    polling,
    new RegExp(`< HTTP/1.1 202 Accepted[^]*< Operation-Id: ${ids[1]}[^]*< Retry-After: \\d+[^]*< HTTP/1.1 200 OK`),
  );
  assert.match(callback, /running, bureau \d of 3 \(\d+ %\)[^]*succeeded/);
  assert.match(
    stored,
    new RegExp(
      `< HTTP/1.1 200 OK[^]*< Operation-Id: ${ids[0]}[^]*< Age: \\d+[^]*< Cache-Status: waitless; hit; ttl=8\\d{4}`,
    ),
  );
  assert.match(
    stored,
    new RegExp(`> GET /v1/services/score/results/42[^]*"score":${scores[0]}[^]*results/99[^]*HTTP/1.1 404`),
  );
  assert.match(crowd, /1 computed, 19 joined it/);
  assert.match(forgotten, /> DELETE \/v1\/services\/score\/results\/42[^]*HTTP\/1.1 204[^]*HTTP\/1.1 404/);
});

test('an unknown option is refused and nothing is started', async () => {
  const child = spawn(process.execPath, [script, '--kep'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  assert.equal(code, 2);
  assert.equal(output, '');
  assert.match(errors, /no option --kep; there is --keep/);
});
