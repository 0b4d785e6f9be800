// `bench`: real requests against a real server, honest numbers, and a word about what is left behind.
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test, type TestContext } from 'node:test';
import { createClient } from '@waitless/client';
import { resolveConfig, startServer } from '@waitless/server';
import { quantile } from '../load.ts';
import { fakeServer, run, sendJson, sendProblem } from '../support.test.ts';

async function serverWith(t: TestContext, pull: readonly string[]): Promise<string> {
  const document = { logLevel: 'silent' };
  const options = { port: '0', data: ':memory:', pull };
  const server = await startServer(resolveConfig({ cwd: tmpdir(), env: {}, document, options }).config);
  t.after(() => server.stop());
  return server.url;
}

test('what it says was accepted is there, every one, and can be found again', async (t) => {
  const url = await serverWith(t, ['jobs']);
  const { code, stdout, stderr } = await run(['bench', '--url', url, '--seconds', '1', '--in-flight', '8', '--json']);
  assert.equal(code, 0, stderr);
  const measured = JSON.parse(stdout) as Record<string, number>;
  assert.ok(measured['accepted']! > 0);
  assert.deepEqual(measured['errors'], {});
  assert.ok(measured['p50Ms']! > 0 && measured['p99Ms']! >= measured['p50Ms']!);
  assert.equal(Math.round(measured['acceptedPerSecond']! * measured['seconds']!), measured['accepted']);
  const [jobs] = await createClient({ url }).services();
  assert.equal(jobs?.counts.queued, measured['accepted']);
  assert.match(stderr, /operations are left behind on the server; these are they:\n {2}npx waitless ls --service jobs/);
  const label = /bench=[0-9a-f]{8}/.exec(stderr)![0];
  const found = await run(['ls', '--label', label, '--limit', '1', '--url', url]);
  assert.match(found.stdout, /\bjobs\b/);
});

test('on a terminal a bar is drawn and gone at the end; Ctrl-C ends early and tells what was measured', async (t) => {
  const url = await serverWith(t, ['jobs']);
  let interrupt: () => void = () => undefined;
  const { code, stdout, stderr } = await run(['bench', '--url', url, '--seconds', '60', '--in-flight', '2'], {
    tty: true,
    env: { NO_COLOR: '1' },
    onListening: (send) => (interrupt = () => send('SIGINT')),
    onStderr: (text) => /[1-9][\d,]* a second/.test(text) && interrupt(),
  });
  assert.equal(code, 130);
  assert.match(stderr, /of 60 s {2}[\d,]+ a second/);
  assert.match(
    stdout,
    /^accepted +[\d,]+ in .* a second\nanswer +p50 [\d.]+ ms, p99 [\d.]+ ms, with 2 in flight\nerrors +none\n$/,
  );
});

test('refusals are counted and never called accepted; stored results are told apart', async (t) => {
  let number = 0;
  const { env, seen } = await fakeServer(t, ({ path }, response) => {
    if (path === '/v1/services') sendJson(response, 200, { items: [{ name: 'score' }], next: null });
    else if (number++ % 2 === 0) sendProblem(response, 429, 'queue-full', 'the queue is full');
    else sendJson(response, 200, {});
  });
  const argv = ['bench', '--seconds', '1', '--in-flight', '2', '-d', '{"customerId":"42"}'];
  const { code, stdout, stderr } = await run([...argv, '--json'], { env });
  assert.equal(code, 1);
  const measured = JSON.parse(stdout) as { accepted: number; answered: number; errors: Record<string, number> };
  assert.equal(measured.accepted, 0);
  assert.ok(measured.answered > 0 && measured.errors['429']! > 0);
  assert.equal(measured.answered + measured.errors['429']!, seen.length - 1);
  assert.doesNotMatch(stderr, /left behind/);
  assert.ok(seen.slice(1).every(({ body, method }) => method === 'POST' && body.toString() === '{"customerId":"42"}'));
});

test('which service is meant is said, and nothing is sent where it is not clear', async (t) => {
  const two = await serverWith(t, ['jobs', 'mails']);
  for (const [argv, names] of [
    [[], /several services; name one with --service: jobs, mails\./],
    [['--service', 'job'], /no service "job" here, only: jobs, mails\./],
  ] as const) {
    const { code, stderr } = await run(['bench', '--url', two, ...argv]);
    assert.equal(code, 1);
    assert.match(stderr, names);
  }
  const none = await run(['bench', '--url', await serverWith(t, [])]);
  assert.match(none.stderr, /no services; start it with one/);
});

test('quantiles', () => {
  const values = Array.from({ length: 100 }, (_, index) => index + 1);
  assert.deepEqual([quantile(values, 0.5), quantile(values, 0.99), quantile([7], 0.99)], [50, 99, 7]);
  assert.equal(quantile([], 0.5), undefined);
});
