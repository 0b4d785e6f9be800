// `purge`: what it asks for, and what it says when there was nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeServer, run, sendProblem } from '../support.test.ts';

test('forgets what is stored under a key, of one part or several, whatever characters it has', async (t) => {
  const { env, seen } = await fakeServer(t, (_, response) => void response.writeHead(204).end());
  const one = await run(['purge', 'score', 'a/b?c=ü'], { env });
  assert.deepEqual([one.code, one.stdout, one.stderr], [0, 'score a/b?c=ü  forgotten\n', '']);
  const two = await run(['purge', 'prices', 'eu', '..', '--json'], { env });
  assert.deepEqual(JSON.parse(two.stdout), { service: 'prices', key: ['eu', '..'], purged: true });
  assert.deepEqual(
    seen.map(({ method, path, query }) => [method, path, query.getAll('key')]),
    [
      ['DELETE', '/v1/services/score/results', ['a/b?c=ü']],
      ['DELETE', '/v1/services/prices/results', ['eu', '..']],
    ],
  );
});

test('nothing stored, no such service, wrong words: exit codes and sentences', async (t) => {
  const { env, seen } = await fakeServer(t, ({ path }, response) =>
    path.includes('scoer')
      ? sendProblem(response, 404, 'unknown-service', 'there is no service "scoer"; did you mean "score"?')
      : sendProblem(response, 404, 'not-found', 'nothing is stored'),
  );
  const nothing = await run(['purge', 'score', '42'], { env });
  assert.deepEqual([nothing.code, nothing.stdout], [1, '']);
  assert.match(nothing.stderr, /^Nothing is stored for score under the key 42\.$/m);
  const unknown = await run(['purge', 'scoer', '42'], { env });
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /did you mean "score"/);
  const sent = seen.length;
  for (const argv of [['purge', 'score'], ['purge'], ['purge', 'a/b', '42']])
    assert.equal((await run(argv, { env })).code, 2, argv.join(' '));
  assert.equal(seen.length, sent);
});
