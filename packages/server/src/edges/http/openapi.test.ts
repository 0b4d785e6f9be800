// The document says what the route table says, and a strict linter finds nothing to complain of.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { callMethods, errorTable, headerTable, type Route, routes, schemas, unbuiltRoutes } from '@waitless/protocol';
import { openApiDocument } from './openapi.ts';
import { answerHeaders, headerDetails, pathDetails, queryDetails } from './openapi-details.ts';
import { bodyExamples } from './openapi-examples.ts';

interface Answer {
  $ref?: string;
  description?: string;
  headers?: Record<string, unknown>;
  content?: Record<string, { examples?: Record<string, { value: { type: string } }> }>;
}
interface Operation {
  operationId: string;
  security: unknown[];
  tags: string[];
  parameters: { $ref?: string; name?: string; in?: string }[];
  requestBody?: unknown;
  responses: Record<string, Answer>;
}
interface Document {
  info: { version: string };
  servers: { url: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: { responses: Record<string, Answer>; parameters: Record<string, { name: string }> };
}

const document = openApiDocument({ version: '0.1.0', serverUrl: 'http://127.0.0.1:7878/' }) as unknown as Document;
const table = Object.entries(routes) as [string, Route][];
const operationsOf = (name: string, route: Route): [method: string, operation: Operation, operationId: string][] => {
  const methods = route.method === 'ANY' ? callMethods : [route.method];
  return methods.map((method) => {
    const operation = document.paths[route.path.replace('…', '')]?.[method.toLowerCase()];
    assert.ok(operation, `${method} ${route.path} is missing`);
    return [method, operation, route.method === 'ANY' ? `${name}${method[0]}${method.slice(1).toLowerCase()}` : name];
  });
};
const every = table.flatMap(([name, route]) =>
  operationsOf(name, route).map((found) => ({ route, method: found[0], operation: found[1], operationId: found[2] })),
);
const answer = (operation: Operation, status: string | number): Answer => {
  const found = operation.responses[status];
  assert.ok(found, `${operation.operationId} has no ${status}`);
  return found.$ref === undefined ? found : document.components.responses[found.$ref.split('/').at(-1)!]!;
};

describe('OpenAPI document', () => {
  test('the linter has nothing to say under its recommended-strict rules', async () => {
    const config = await createConfig({ extends: ['recommended-strict'] });
    const found = await lintFromString({ source: JSON.stringify(document), absoluteRef: 'openapi.json', config });
    assert.deepEqual(
      found.map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0]?.pointer}`),
      [],
    );
  });

  test('the linter is awake: it finds a broken document', async () => {
    const config = await createConfig({ extends: ['recommended-strict'] });
    const broken = structuredClone(document);
    broken.paths['/v1/services']!['get']!.responses = {};
    assert.notEqual(
      (await lintFromString({ source: JSON.stringify(broken), absoluteRef: 'openapi.json', config })).length,
      0,
    );
  });

  test('every route of the table is there under its own operation id, and nothing else', () => {
    for (const { operation, operationId, route } of every) {
      assert.equal(operation.operationId, operationId);
      assert.deepEqual(operation.tags, [route.tag]);
    }
    const listed = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method} ${path}`),
    );
    assert.equal(listed.length, every.length);
    for (const path of unbuiltRoutes)
      if (!table.some(([, route]) => route.path === path)) assert.ok(!(path.replace('…', '') in document.paths), path);
  });

  test('keys are asked for where the table says so', () => {
    for (const { operation, route } of every)
      assert.deepEqual(operation.security, [
        ...(route.access === 'key' ? [{ bearer: [] }] : []),
        ...(route.readableByToken ? [{ readToken: [] }] : []),
      ]);
  });

  test('every error code of a route stands under its status, with its page as type', () => {
    for (const { operation, route } of every) {
      for (const code of route.errors) {
        const { description, content, headers } = answer(operation, errorTable[code].status);
        assert.match(description!, new RegExp(`\`${code}\``));
        assert.equal(
          content?.['application/problem+json']?.examples?.[code]?.value.type,
          `http://127.0.0.1:7878/problems/${code}`,
        );
        if ([429, 503].includes(errorTable[code].status)) assert.ok(headers?.['Retry-After']);
      }
      if (route.access === 'key') assert.match(answer(operation, 401).description!, /unauthenticated/);
    }
  });

  test('every documented answer is there', () => {
    for (const { operation, route, method } of every) {
      for (const [status, kind] of Object.entries(route.output)) {
        assert.equal(
          answer(operation, status).content !== undefined,
          kind !== null && method !== 'HEAD',
          `${operation.operationId} ${status}`,
        );
      }
    }
  });

  test('a 202 and a result carry the headers that lead on', () => {
    const submit = document.paths['/v1/call/{service}']!['post']!;
    for (const name of [
      'Operation-Id',
      'Operation-Location',
      'Location',
      'Retry-After',
      'Preference-Applied',
      'Correlation-Id',
      'Request-Id',
    ])
      assert.ok(answer(submit, 202).headers?.[name], name);
    const result = document.paths['/v1/operations/{id}/result']!['get']!;
    for (const status of [200, 'default'])
      for (const name of ['Operation-Status', 'ETag', 'Content-Location'])
        assert.ok(answer(result, status).headers?.[name], name);
    assert.deepEqual(Object.keys(answer(result, 200).content!), ['*/*', 'application/json']);
  });

  test('what is not built is left out, what is built is there', () => {
    const text = JSON.stringify(document);
    for (const { name, direction, built } of headerTable)
      if (direction === 'request' && !built) assert.ok(!text.includes(`"${name}"`), name);
    for (const { operation, route } of every) {
      const names = operation.parameters.map(
        (parameter) => parameter.name ?? document.components.parameters[parameter.$ref!.split('/').at(-1)!]!.name,
      );
      for (const { name, built } of route.query ?? [])
        assert.equal(names.includes(name === 'label.*' ? 'labels' : name), built !== false, name);
      for (const name of route.headers ?? []) assert.ok(names.includes(name), name);
    }
  });

  test('methods whose bodies mean nothing have none', () => {
    for (const { operation, route, method } of every)
      assert.equal(
        operation.requestBody !== undefined,
        route.input !== undefined && !['GET', 'HEAD', 'DELETE'].includes(method),
        operation.operationId,
      );
  });

  test('details and examples belong to something in the tables', () => {
    const used = (pick: (route: Route) => readonly string[]): Set<string> =>
      new Set(table.flatMap(([, route]) => pick(route)));
    const queries = used((route) => (route.query ?? []).map(({ name }) => name));
    const paths = used((route) => [...route.path.matchAll(/\{([a-z]+)/g)].map(([, name]) => name!));
    const headers = used((route) => route.headers ?? []);
    for (const name of Object.keys(queryDetails)) assert.ok(queries.has(name.split(' ').at(-1)!), name);
    for (const name of Object.keys(pathDetails)) assert.ok(paths.has(name.split(' ').at(-1)!), name);
    for (const name of Object.keys(headerDetails)) assert.ok(headers.has(name) || name === 'If-None-Match', name);
    for (const name of Object.keys(answerHeaders))
      assert.ok(!headerTable.some((entry) => entry.direction === 'response' && entry.name === name), name);
    for (const name of Object.keys(bodyExamples(''))) assert.ok(name in schemas, name);
  });

  test('it is plain JSON with the version and the base it was given', () => {
    assert.deepEqual(JSON.parse(JSON.stringify(document)), document);
    assert.equal(document.info.version, '0.1.0');
    assert.equal(document.servers[0]?.url, 'http://127.0.0.1:7878');
  });
});
