// What is documented and not built yet is refused by name with 501, so that nobody believes in something that does not happen.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorTable, unbuiltRequestHeaders, unbuiltRoutes } from '@waitless/protocol';
import { assertProblem, assertUsable, underAttack } from '../support/victim.ts';
import { requestBytes, type RequestParts } from '../support/raw-http.ts';

/** None at this time. */
const headers: readonly (readonly [name: string, value: string])[] = [];

const routes: readonly (readonly [method: string, path: string])[] = [['GET', '/docs']];

test('documented and not built: 501, nothing stored, the connection usable', async (t) => {
  await underAttack(t, { services: { work: { target: { pull: true } } } }, async (victim) => {
    const refused = (name: string, parts: RequestParts): Promise<void> =>
      t.test(`${name} gets 501 not-implemented`, () =>
        victim.untouchedBy(async () => {
          const connection = await victim.open();
          connection.send(requestBytes(parts));
          const answer = await connection.response();
          assertProblem(answer, 501, 'not-implemented');
          assert.notEqual(answer!.json()['detail'], errorTable['not-implemented'].title, 'what is not built is named');
          await assertUsable(connection);
        }),
      );
    for (const [name, value] of headers) {
      await refused(`a submit with ${name}: ${value}`, {
        method: 'POST',
        path: '/v1/call/work',
        headers: [[name, value]],
        body: 'x',
      });
    }
    for (const [method, path] of routes) {
      await refused(`${method} ${path}`, { method, path, ...(method === 'GET' ? {} : { body: '{"a":1}' }) });
    }
  });

  await t.test('the tables above have every header and route that the protocol marks as not built', () => {
    const named = new Set(headers.map(([name]) => name.toLowerCase()));
    for (const name of unbuiltRequestHeaders.keys()) assert.ok(named.has(name), name);
    for (const route of unbuiltRoutes) {
      const pattern = new RegExp(`^${route.replace(/\{[a-z]+…\}/, '.+').replace(/\{[a-z]+\}/g, '[^/]+')}$`);
      assert.ok(
        routes.some(([, path]) => pattern.test(path.split('?')[0]!)),
        route,
      );
    }
  });
});
