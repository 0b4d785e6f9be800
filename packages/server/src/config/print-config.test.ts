// --print-config: complete, true to its origins, readable as a config file again, and silent about secrets.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { resolveConfig } from './config.ts';
import { optionTable } from './options.ts';
import { configEntries, describeConfig } from './print-config.ts';

let folder = '';
before(() => void (folder = mkdtempSync(join(tmpdir(), 'waitless-print-'))));
after(() => rmSync(folder, { recursive: true, force: true }));

const hash = createHash('sha256').update('wl_secret').digest('hex');
const resolved = () => {
  writeFileSync(
    join(folder, 'ops.keys'),
    `ops default ${hash}\nci team-a ${createHash('sha256').update('x').digest('hex')}\n`,
  );
  writeFileSync(
    join(folder, 'c.yaml'),
    'apiKeyFile: ops.keys\nmaxWait: 90s\nservices:\n  score:\n    target: { url: "http://127.0.0.1:9001", headers: { Authorization: "Bearer hunter2" } }\n    retry: { maxAttempts: 2 }\n    key: { body: /customerId, methods: [POST] }\n    rate: 100/s\n  "123":\n    target: { pull: true }\n    key: [{ path: 1 }, { query: "a, b" }]\n    maxQueued: 7\n',
  );
  return resolveConfig({
    cwd: folder,
    options: { config: 'c.yaml', port: '0', corsOrigin: ['https://a.example.com'], validFor: ['score=24h'] },
    env: { WAITLESS_LOG_LEVEL: 'info', WAITLESS_EVENT_MAX_BYTES: '2gb' },
  });
};

describe('--print-config', () => {
  test('every value with its origin', () => {
    const byPath = new Map(
      configEntries(resolved()).map((entry) => [entry.path.join('.'), [entry.value, entry.origin]]),
    );
    assert.deepEqual(byPath.get('port'), [0, 'flag --port']);
    assert.deepEqual(byPath.get('logLevel'), ['info', 'environment WAITLESS_LOG_LEVEL']);
    assert.deepEqual(byPath.get('maxWait'), ['90s', 'c.yaml line 2']);
    assert.deepEqual(byPath.get('apiKeyFile'), ['ops.keys', 'c.yaml line 1; 2 keys: ops (default), ci (team-a)']);
    assert.deepEqual(byPath.get('host'), ['127.0.0.1', 'default']);
    assert.deepEqual(byPath.get('eventRetention'), ['7d', 'default']);
    assert.deepEqual(byPath.get('eventMaxBytes'), ['2gb', 'environment WAITLESS_EVENT_MAX_BYTES']);
    assert.deepEqual(byPath.get('services.score.retry.maxAttempts'), [2, 'c.yaml line 6']);
    assert.deepEqual(byPath.get('services.score.retry.maxDelay'), ['5m', 'default']);
    assert.deepEqual(byPath.get('services.score.target.headers.Authorization'), ['***', 'c.yaml line 5']);
    assert.deepEqual(byPath.get('services.123.target.pull'), [true, 'c.yaml line 10']);
    assert.deepEqual(byPath.get('services.score.key.body'), ['/customerId', 'c.yaml line 7']);
    assert.deepEqual(byPath.get('services.score.key.methods'), [['POST'], 'c.yaml line 7']);
    assert.deepEqual(byPath.get('services.score.validFor'), ['1d', 'flag --valid-for']);
    assert.deepEqual(byPath.get('services.score.rate'), ['100/s', 'c.yaml line 8']);
    assert.deepEqual(byPath.get('services.score.maxQueued'), [undefined, 'default']);
    assert.deepEqual(byPath.get('services.123.key'), [[{ path: 1 }, { query: 'a, b' }], 'c.yaml line 11']);
    for (const option of optionTable) if (option.field !== undefined) assert.ok(byPath.has(option.field), option.name);
  });

  test('neither keys, hashes nor header values are shown', () => {
    const text = describeConfig(resolved());
    assert.doesNotMatch(text, /hunter2|wl_secret/);
    assert.ok(!text.includes(hash.slice(0, 12)));
  });

  test('secrets are masked, as many as there are, and a masked one is refused where it is read back', () => {
    const [one, two, three] = [1, 2, 3].map((n) => `whsec_${createHash('sha256').update(`${n}`).digest('base64')}`);
    const shown = (services: Record<string, unknown>) => {
      const text = describeConfig(resolveConfig({ cwd: folder, env: {}, document: { services } }));
      assert.doesNotMatch(text, /whsec_/);
      return text;
    };
    const url = 'http://127.0.0.1:9001';
    const text = shown({ a: { target: { url, secret: one } }, b: { target: { url, secret: [two, three] } } });
    const { services } = parse(text) as { services: Record<string, { target: unknown }> };
    assert.deepEqual(services['a']!.target, { url, secret: '***' });
    assert.deepEqual(services['b']!.target, { url, secret: ['***', '***'] });
    assert.throws(
      () => resolveConfig({ cwd: folder, env: {}, document: { services } }),
      /\*\*\* is shown in the place/,
    );
  });

  test('the output is a config file with the same values', () => {
    const first = resolved();
    const again = parse(describeConfig(first)) as Record<string, unknown>;
    const second = resolveConfig({ cwd: folder, env: {}, document: again }).config;
    const masked = { ...second.services.get('score')!.target, headers: { Authorization: 'Bearer hunter2' } };
    assert.deepEqual({ ...second.services.get('score')!, target: masked }, first.config.services.get('score'));
    assert.deepEqual(second.services.get('123'), first.config.services.get('123'));
    assert.deepEqual({ ...second, services: undefined }, { ...first.config, services: undefined });
  });
});
