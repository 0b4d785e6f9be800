// The credit-score example does what its README says, from one command to the last process stopped.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('../../examples/credit-score/run.mjs', import.meta.url));

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('waiting, polling and being called back give one score, under the ids the backend saw, and leave nothing running', async (t) => {
  const child = spawn(process.execPath, [script], {
    // The bureaus need a tenth of their usual time.
    env: { ...process.env, BUREAU_PACE: '0.1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that a failing test can stop what the example started as well.
    detached: true,
  });
  const group = child.pid!;
  t.after(() => {
    try {
      process.kill(-group, 'SIGKILL');
    } catch {
      // Nothing is left of it.
    }
  });
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  assert.equal(code, 0, `${errors}\n${output}`);

  const ways = [...output.matchAll(/^ {2}(waiting|polling|callback) +score (\d+) +the client got operation (\w+)$/gm)];
  assert.deepEqual(
    ways.map(([, way]) => way),
    ['waiting', 'polling', 'callback'],
  );
  const scores = ways.map(([, , score]) => Number(score));
  assert.ok(scores[0]! >= 300 && scores[0]! <= 850);
  assert.equal(new Set(scores).size, 1, `scores ${scores.join(', ')}`);
  const ids = ways.map(([, , , id]) => id!);
  assert.equal(new Set(ids).size, 3);

  const seenByBackend = [...output.matchAll(/backend says: \S+ for customer 42, operation (\w+)$/gm)].map(
    ([, id]) => id,
  );
  assert.deepEqual(seenByBackend, ids);
  // What the wire showed, not the summary: the ids of the answers, a receipt before the result, progress before the end.
  const [, polling = '', callback = ''] = output.split(/^\([abc]\) /m).slice(1);
  assert.match(
    polling,
    new RegExp(`< HTTP/1.1 202 Accepted[^]*< Operation-Id: ${ids[1]}[^]*< Retry-After: \\d+[^]*< HTTP/1.1 200 OK`),
  );
  assert.match(callback, /running, bureau \d of 3 \(\d+ %\)[^]*succeeded/);

  const pids = [...output.matchAll(/: process (\d+)$/gm)].map(([, pid]) => Number(pid));
  assert.equal(pids.length, 3);
  assert.deepEqual(pids.filter(isRunning), []);
});

test('an unknown option is refused and nothing is started', async () => {
  const child = spawn(process.execPath, [script, '--kep'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  assert.equal(code, 2);
  assert.equal(output, '');
  assert.match(errors, /no option --kep; there is --keep/);
});
