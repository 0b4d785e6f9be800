// Ids and tokens are capabilities: guessing them finds nothing and is slowed down, and nobody honest is slowed down with the guesser.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get } from '../support/http.ts';
import { assertProblem, submit } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';
import { guess } from './guessing-run.ts';

test('three thousand guessed ids and tokens are nothing, after a thousand they are 429, and honest callers notice nothing', (t) =>
  guess(t, 3000));

test('who polls an id that is unknown, for ever, is told so for ever', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true } } } });
  const { id } = await submit(server.url, 'jobs');
  const gone = `${id.slice(0, -1)}${id.endsWith('0') ? '1' : '0'}`;
  for (let i = 0; i < 1500; i++) assertProblem(await get(`${server.url}/v1/operations/${gone}`), 404, 'not-found');
  assert.equal((await get(`${server.url}/v1/operations/${id}`)).status, 200);
});
