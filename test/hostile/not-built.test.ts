// What is documented and not built yet is refused by name with 501, so that nobody believes in something that does not happen.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorTable, unbuiltRequestHeaders, unbuiltRoutes } from '@waitless/protocol';
import { assertProblem, assertUsable, underAttack } from '../support/victim.ts';
import { requestBytes, type RequestParts } from '../support/raw-http.ts';

const headers: readonly (readonly [name: string, value: string])[] = [
  ['Ordering-Key', 'customer-42'],
  ['Ordering-Key', ''],
];

const routes: readonly (readonly [method: string, path: string])[] = [
  ['PUT', '/v1/subscriptions/s'],
  ['GET', '/v1/subscriptions/s'],
  ['DELETE', '/v1/subscriptions/s'],
  ['POST', '/v1/subscriptions/s/pause'],
  ['POST', '/v1/subscriptions/s/resume'],
  ['POST', '/v1/subscriptions/s/redrive'],
  ['POST', '/v1/subscriptions/s/leases'],
  ['GET', '/v1/subscriptions/s/deliveries'],
  ['GET', '/v1/subscriptions/s/dead-letters'],
  ['POST', '/v1/leases/t/ack'],
  ['POST', '/v1/leases/t/nack'],
  ['GET', '/docs'],
];

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

test('a refused header is refused before the body is read, on every method of a call', async (t) => {
  await underAttack(t, { services: { work: { target: { pull: true } } } }, async (victim) => {
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      await t.test(method, () =>
        victim.untouchedBy(async () =>
          assertProblem(
            await victim.ask({
              method,
              path: '/v1/call/work/a?b=c',
              headers: [['Ordering-Key', 'customer-42']],
            }),
            501,
            'not-implemented',
          ),
        ),
      );
    }
    await t.test('HEAD', () =>
      victim.untouchedBy(async () => {
        const answer = await victim.ask({ method: 'HEAD', path: '/v1/call/work', headers: [['Ordering-Key', 'a']] });
        assert.equal(answer.status, 501);
      }),
    );
  });
});
