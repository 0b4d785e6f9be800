// The any-api example does what its README says: an API that knows nothing of Waitless, asynchronous by a config file alone.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runExample } from '../support/example.ts';

const folder = new URL('../../examples/any-api/', import.meta.url);
const script = fileURLToPath(new URL('run.mjs', folder));
const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8');

test('an API not written for us is asynchronous by configuration: every answer as it came, and nothing is left running', async (t) => {
  // The archive needs a tenth of its usual time.
  const output = await runExample(t, { script, env: { ARCHIVE_PACE: '0.1' }, processes: 2 });

  const [, polled = '', file = '', missing = '', orders = '', stumble = '', six = ''] = output.split(/^\(\d\) /m);
  assert.match(
    polled,
    /> GET \/v1\/call\/reports\/monthly\?year=2026\n {2}< 202 Accepted[^]*> GET \/v1\/operations\/\w+\/result\n {2}< 200 OK/,
  );
  assert.match(polled, /report: status 200, application\/json, .* as the archive sent it/);
  assert.match(
    file,
    /filename="report-2026\.pdf": status 200, application\/pdf, 65536 bytes, .* as the archive sent it/,
  );
  assert.match(missing, /404: status 404, application\/vnd\.archive\.fault\+json, .* as the archive sent it/);
  assert.match(missing, /Operation-Status: failed, [^]*Operation-Status: none, /);
  assert.match(orders, /\{"year":2027\}: status 201, application\/json, .* as the archive sent it/);
  assert.match(orders, /\{"year":"soon"\}: status 422, .* as the archive sent it/);
  assert.match(stumble, /200 2025: 1080\n {2}The archive was asked 2 times\./);
  assert.match(six, /6 of 6 reports are right; the archive worked on [12] at once\./);
});

test('the API has no word about Waitless in its code, and the README shows the config file that is used', () => {
  const code = read('api.mjs').replace(/^\/\/.*\n/, '');
  assert.doesNotMatch(code, /waitless|operation-|x-request|prefer/i);
  const shown = /```yaml\n([^]*?)```/.exec(read('README.md'))?.[1];
  const used = read('waitless.yaml').replace(/^ *#.*\n/gm, '');
  assert.equal(shown, used);
});
