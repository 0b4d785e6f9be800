// Every option from every source, their order, and every refusal with the words a person reads.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type ConfigSources, resolveConfig, type ResolvedConfig } from './config.ts';
import { ConfigError } from './config-error.ts';
import { optionTable } from './options.ts';

let folder = '';
before(() => void (folder = mkdtempSync(join(tmpdir(), 'waitless-config-'))));
after(() => rmSync(folder, { recursive: true, force: true }));

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return name;
};
/** Resolves in an empty folder unless told otherwise, so that no file of the machine is read. */
const resolve = (sources: Partial<ConfigSources> = {}): ResolvedConfig =>
  resolveConfig({ env: {}, cwd: join(folder, 'empty'), ...sources });
const score = { target: ['score=http://127.0.0.1:1'] };
const refusal = (sources: Partial<ConfigSources>): ConfigError => {
  try {
    resolve(sources);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error;
  }
  return assert.fail('the configuration was accepted');
};

describe('defaults', () => {
  test('nothing given: every option has the default of the table, and says so', () => {
    const { config, origins, warnings } = resolve();
    assert.equal(config.host, '127.0.0.1');
    assert.equal(config.port, 7878);
    assert.equal(config.data, join(folder, 'empty', 'waitless-data'));
    assert.equal(config.maxWaitMs, 50_000);
    assert.equal(config.maxBodyMemoryBytes, 256 * 1024 * 1024);
    assert.equal(config.shutdownTimeoutMs, 25_000);
    assert.equal(config.logLevel, 'warn');
    assert.equal(config.keys, undefined);
    assert.equal(config.services.size, 0);
    assert.equal(origins.size, 0);
    assert.deepEqual(warnings, []);
  });

  test('every option has a help line, a reason, and names that follow from its own', () => {
    for (const option of optionTable) {
      assert.match(option.flag, /^--[a-z]+(-[a-z]+)*$/);
      assert.equal(option.env, `WAITLESS_${option.flag.slice(2).replaceAll('-', '_').toUpperCase()}`);
      assert.ok(option.help.length > 10 && !option.help.includes('\n'), option.name);
      assert.ok(option.reason.length > 10, option.name);
    }
    assert.equal(new Set(optionTable.map((option) => option.flag)).size, optionTable.length);
  });

  test('the result does not change any more', () => {
    const { config } = resolve({ options: { target: ['score=http://127.0.0.1:1'] } });
    const service = config.services.get('score')!;
    for (const frozen of [
      config,
      config.allowNetwork,
      service,
      service.target,
      service.retry,
      service.forward,
      service.key,
      service.keyMethods,
    ])
      assert.ok(Object.isFrozen(frozen));
    assert.throws(() => (config.services as Map<string, unknown>).set('other', service), /does not change/);
    assert.throws(() => (config.services as Map<string, unknown>).clear(), /does not change/);
  });
});

describe('sources', () => {
  test('flag over environment over file over default, each with its origin', () => {
    file('order.yaml', 'port: 1\nmaxWait: 10s\nlogLevel: info\nhost: 127.0.0.2\n');
    const { config, origins, configFile } = resolve({
      cwd: folder,
      options: { config: 'order.yaml', port: '3' },
      env: { WAITLESS_PORT: '2', WAITLESS_MAX_WAIT: '20s' },
    });
    assert.deepEqual([config.port, config.maxWaitMs, config.logLevel, config.maxWaiters], [3, 20_000, 'info', 50_000]);
    assert.deepEqual(
      ['port', 'maxWait', 'logLevel', 'maxWaiters'].map((name) => origins.get(name)?.text),
      ['flag --port', 'environment WAITLESS_MAX_WAIT', 'order.yaml line 3', undefined],
    );
    assert.equal(configFile, join(folder, 'order.yaml'));
  });

  test('waitless.yaml of the working folder is read without being named', () => {
    file('waitless.yaml', 'port: 4444\n');
    assert.equal(resolve({ cwd: folder }).config.port, 4444);
    rmSync(join(folder, 'waitless.yaml'));
  });

  test('the environment names the file, and a JSON file is read as well, tabs and all', () => {
    file(
      'other.json',
      '{\n\t"port": 5555,\n\t"services": {"score": {"target": {"url": "http://127.0.0.1:9001/score"}}}\n}',
    );
    const { config, origins } = resolve({ cwd: folder, env: { WAITLESS_CONFIG: 'other.json' } });
    assert.equal(config.port, 5555);
    assert.equal(config.services.get('score')?.name, 'score');
    assert.equal(origins.get('services.score.target.url')?.text, 'other.json line 3');
  });

  test('every option can come from the environment', () => {
    const keys = file('env.keys', `ops default ${sha256('secret')}\n`);
    const { config } = resolve({
      cwd: folder,
      env: {
        WAITLESS_HOST: '[::]',
        WAITLESS_PORT: '0',
        WAITLESS_DATA: ':memory:',
        WAITLESS_TARGET: 'score=http://127.0.0.1:9001/a,b,other=pull',
        WAITLESS_PULL: 'jobs, mails',
        WAITLESS_API_KEY_FILE: keys,
        WAITLESS_PUBLIC_URL: 'https://api.example.com/jobs/',
        WAITLESS_BACKEND_URL: 'http://10.0.0.1:7878',
        WAITLESS_ALLOW_NETWORK: '10.0.0.0/8, fd00::/8',
        WAITLESS_CORS_ORIGIN: 'https://a.example.com,http://localhost:3000',
        WAITLESS_TRUST_PROXY: '192.168.1.7',
        WAITLESS_MAX_BODY_MEMORY: '1gb',
        WAITLESS_MAX_WAITERS: '7',
        WAITLESS_SHUTDOWN_TIMEOUT: '0s',
        WAITLESS_LOG_LEVEL: 'silent',
        WAITLESS_MAX_WAIT: '1m',
      },
    });
    assert.equal(config.host, '::');
    assert.equal(config.data, ':memory:');
    assert.deepEqual([...config.services.keys()], ['score', 'other', 'jobs', 'mails']);
    assert.deepEqual(config.services.get('score')?.target, {
      kind: 'http',
      url: 'http://127.0.0.1:9001/a,b',
      headers: {},
    });
    assert.deepEqual(config.services.get('other')?.target, { kind: 'pull' });
    assert.deepEqual(
      config.keys?.map(({ name, namespace }) => [name, namespace]),
      [['ops', 'default']],
    );
    assert.equal(config.publicUrl, 'https://api.example.com/jobs');
    assert.deepEqual(config.allowNetwork, ['10.0.0.0/8', 'fd00::/8']);
    assert.deepEqual(config.corsOrigins, ['https://a.example.com', 'http://localhost:3000']);
    assert.deepEqual(config.trustProxy, ['192.168.1.7']);
    assert.equal(config.maxBodyMemoryBytes, 1024 ** 3);
  });

  test('an empty variable counts as not set, and so does what Kubernetes sets for a service named waitless', () => {
    const env = {
      WAITLESS_HOST: '',
      WAITLESS_PORT: 'tcp://10.96.0.12:7878',
      WAITLESS_SERVICE_HOST: '10.96.0.12',
      WAITLESS_PORT_7878_TCP_ADDR: '10.96.0.12',
      WAITLESS_URL: 'http://x',
    };
    assert.deepEqual([resolve({ env }).config.host, resolve({ env }).config.port], ['127.0.0.1', 7878]);
  });

  test('relative paths start at the file that names them, or at the working folder', () => {
    file('paths.yaml', 'data: store\n');
    assert.equal(resolve({ options: { config: join(folder, 'paths.yaml') } }).config.data, join(folder, 'store'));
    assert.equal(resolve({ cwd: folder, options: { data: 'store' } }).config.data, join(folder, 'store'));
  });

  test('texts of the file take ${env:NAME}', () => {
    file(
      'secret.yaml',
      'services:\n  score:\n    target:\n      url: http://127.0.0.1:1\n      headers: { X-Key: "${env:SCORE_KEY}", X-Raw: "$${env:SCORE_KEY}" }\n',
    );
    const given = { cwd: folder, options: { config: 'secret.yaml' } };
    assert.deepEqual(resolve({ ...given, env: { SCORE_KEY: 'k1' } }).config.services.get('score')?.target, {
      kind: 'http',
      url: 'http://127.0.0.1:1',
      headers: { 'X-Key': 'k1', 'X-Raw': '${env:SCORE_KEY}' },
    });
    assert.match(
      refusal(given).message,
      /^services\.score\.target\.headers\.X-Key: the environment variable "SCORE_KEY" is not set \(secret\.yaml line 5\)$/,
    );
  });

  test('secrets of the file are variables too, one or a list, and never stand in a message', () => {
    const [one, two] = ['1', '2'].map((text) => `whsec_${Buffer.alloc(32, text).toString('base64')}`);
    file(
      'signed.yaml',
      'services:\n  score:\n    target:\n      url: http://127.0.0.1:1\n      secret: ["${env:NEW}", "${env:OLD}"]\n',
    );
    const given = { cwd: folder, options: { config: 'signed.yaml' } };
    const target = (env: Record<string, string>) => resolve({ ...given, env }).config.services.get('score')?.target;
    assert.deepEqual(target({ NEW: one!, OLD: two! }), {
      kind: 'http',
      url: 'http://127.0.0.1:1',
      headers: {},
      secrets: [one, two],
    });
    assert.match(
      refusal({ ...given, env: { NEW: one!, OLD: `${two}x` } }).message,
      /^(?!.*whsec_Mj)services\.score\.target\.secret: .* \(signed\.yaml line 5\)$/,
    );
    assert.match(refusal({ ...given, env: { NEW: one! } }).message, /"OLD" is not set \(signed\.yaml line 5\)$/);
    const replaced = resolve({
      ...given,
      options: { ...given.options, target: ['score=http://127.0.0.1:3'] },
      env: { NEW: one!, OLD: two! },
    });
    assert.deepEqual(replaced.config.services.get('score')?.target, {
      kind: 'http',
      url: 'http://127.0.0.1:3',
      headers: {},
    });
  });

  test('key and validity of services by flag and variable, without a file', () => {
    const { config, origins } = resolve({
      options: {
        target: ['score=http://127.0.0.1:1', 'map=http://127.0.0.1:2'],
        key: ['map=path:1', 'map=query:z,oom'],
      },
      env: { WAITLESS_KEY: 'score=/customerId, map=/replaced', WAITLESS_VALID_FOR: 'score=24h,map=1h' },
    });
    const [score, map] = [config.services.get('score')!, config.services.get('map')!];
    assert.deepEqual(score.key, [{ from: 'body', pointer: '/customerId' }]);
    assert.deepEqual([score.validForMs, map.validForMs], [86_400_000, 3_600_000]);
    // A flag wins over the variable, for the service it names.
    assert.deepEqual(map.key, [
      { from: 'path', segment: 1 },
      { from: 'query', name: 'z,oom' },
    ]);
    assert.equal(origins.get('services.score.key.body')?.text, 'environment WAITLESS_KEY');
    assert.equal(origins.get('services.map.key')?.text, 'flag --key');
    assert.equal(origins.has('services.map.key.body'), false);
    assert.equal(origins.get('services.score.validFor')?.text, 'environment WAITLESS_VALID_FOR');
  });

  test('a key of the command line replaces that of the file whole', () => {
    file(
      'keyed.yaml',
      'services:\n  score:\n    target: { url: "http://127.0.0.1:1" }\n    key: { body: /a, methods: [POST] }\n    validFor: 2h\n',
    );
    const { config, origins } = resolve({
      cwd: folder,
      options: { config: 'keyed.yaml', key: ['score=header:X-Customer'] },
    });
    const score = config.services.get('score')!;
    assert.deepEqual(score.key, [{ from: 'header', name: 'x-customer' }]);
    assert.deepEqual(score.keyMethods, ['GET', 'HEAD', 'POST']);
    assert.equal(score.validForMs, 7_200_000);
    assert.equal(origins.has('services.score.key.methods'), false);
    assert.equal(origins.get('services.score.validFor')?.text, 'keyed.yaml line 5');
  });

  test('a target of the command line replaces that of the file whole and keeps the other fields', () => {
    file(
      'over.yaml',
      'services:\n  score:\n    target: { url: "http://127.0.0.1:1", headers: { X-Key: secret } }\n    timeout: 7m\n',
    );
    const { config, origins } = resolve({
      cwd: folder,
      options: { config: 'over.yaml', target: ['score=http://127.0.0.1:3'] },
      env: { WAITLESS_TARGET: 'score=http://127.0.0.1:2' },
    });
    assert.deepEqual(config.services.get('score')?.target, { kind: 'http', url: 'http://127.0.0.1:3', headers: {} });
    assert.equal(config.services.get('score')?.timeoutMs, 420_000);
    assert.equal(origins.get('services.score.target.url')?.text, 'flag --target');
    assert.equal(origins.has('services.score.target.headers.X-Key'), false);
    assert.equal(origins.get('services.score.timeout')?.text, 'over.yaml line 4');
  });

  test('a document given by code stands in for the file', () => {
    const { config, origins } = resolve({ document: { port: 0, services: { score: { target: { pull: true } } } } });
    assert.equal(config.port, 0);
    assert.equal(origins.get('port')?.kind, 'code');
    assert.equal(
      refusal({ document: { port: -1 } }).message,
      'port: -1 does not fit; it takes a whole number from 0 to 65535',
    );
  });
});

describe('listening beyond loopback', () => {
  for (const host of ['0.0.0.0', '::', '192.168.1.5', 'example.com', '::ffff:192.168.1.5', '127.0.0.1.example.com']) {
    test(`${host} is refused without a key`, () => {
      const { field, message } = refusal({ options: { host } });
      assert.equal(field, 'host');
      assert.match(
        message,
        /^--host: .* can be reached from other machines, which needs API keys; .*--api-key-file FILE/,
      );
    });
  }
  for (const host of ['127.0.0.1', '127.8.9.10', '::1', '[::1]', 'localhost', '::ffff:127.0.0.1']) {
    test(`${host} needs no key`, () => assert.equal(resolve({ options: { host } }).config.keys, undefined));
  }
  test('with a key any address will do', () => {
    file('ops.keys', `ops default ${sha256('k')}`);
    assert.equal(resolve({ cwd: folder, options: { host: '0.0.0.0', apiKeyFile: 'ops.keys' } }).config.keys?.length, 1);
  });
  test('a public URL without a key is allowed and warned of', () => {
    assert.match(resolve({ options: { publicUrl: 'https://jobs.example.com' } }).warnings[0]!, /no API key/);
    assert.deepEqual(resolve({ options: { publicUrl: 'http://[::1]:7878' } }).warnings, []);
  });
});

describe('refusals name the place and the fix', () => {
  const cases: [title: string, sources: Partial<ConfigSources>, field: string, message: RegExp][] = [
    [
      'port too high',
      { options: { port: '65536' } },
      'port',
      /^--port: "65536" does not fit; it takes a whole number from 0 to 65535$/,
    ],
    ['port not a number', { env: { WAITLESS_PORT: 'http' } }, 'port', /^WAITLESS_PORT: "http" does not fit/],
    ['port with a fraction', { document: { port: 1.5 } }, 'port', /^port: 1\.5 does not fit/],
    ['host with a scheme', { options: { host: 'http://localhost' } }, 'host', /^--host: .*without scheme and port/],
    ['host half an address', { options: { host: '127.1' } }, 'host', /not an address/],
    [
      'public URL without scheme',
      { options: { publicUrl: 'example.com' } },
      'publicUrl',
      /^--public-url: it takes an http or https URL such as/,
    ],
    ['public URL with a query', { options: { publicUrl: 'https://example.com/?a=1' } }, 'publicUrl', /no query/],
    [
      'public URL with a password',
      { options: { publicUrl: 'https://me:hunter2@example.com' } },
      'publicUrl',
      /^(?!.*hunter2).*may not carry a user name or password/,
    ],
    ['backend URL of another scheme', { options: { backendUrl: 'ftp://example.com' } }, 'backendUrl', /http or https/],
    [
      'CIDR too narrow',
      { options: { allowNetwork: ['10.0.0.0/33'] } },
      'allowNetwork',
      /^--allow-network: "10\.0\.0\.0\/33" is not an address range/,
    ],
    [
      'CIDR of a name',
      { env: { WAITLESS_TRUST_PROXY: '10.0.0.0/8,proxy' } },
      'trustProxy',
      /^WAITLESS_TRUST_PROXY: "proxy"/,
    ],
    ['CIDR with a zone', { options: { trustProxy: ['fe80::1%eth0'] } }, 'trustProxy', /not an address range/],
    ['any origin', { options: { corsOrigin: ['*'] } }, 'corsOrigin', /every web page/],
    [
      'an origin with a path',
      { options: { corsOrigin: ['https://a.example.com/'] } },
      'corsOrigin',
      /did you mean "https:\/\/a\.example\.com"/,
    ],
    ['size without unit', { options: { maxBodyMemory: '1000' } }, 'maxBodyMemory', /not a size/],
    ['size too small', { options: { maxBodyMemory: '1kb' } }, 'maxBodyMemory', /takes 1mb to 64gb/],
    [
      'wait without unit',
      { options: { maxWait: '50' } },
      'maxWait',
      /^--max-wait: "50" is not a duration; write a number with its unit/,
    ],
    ['wait too long', { options: { maxWait: '2h' } }, 'maxWait', /takes 1s to 1h/],
    ['unknown level', { options: { logLevel: 'loud' } }, 'logLevel', /takes debug, info, warn, error or silent/],
    ['another store', { env: { WAITLESS_DATA: 'redis://db' } }, 'data', /no other URL/],
    ['unknown flag', { options: { hots: 'x' } }, 'hots', /^--hots: there is no such option; did you mean "--host"\?$/],
    ['flag of a later version', { options: { metricsPort: '1' } }, 'metricsPort', /^--metrics-port: not built yet/],
    ['unknown variable', { env: { WAITLESS_HOTS: 'x' } }, 'WAITLESS_HOTS', /did you mean "WAITLESS_HOST"\?$/],
    ['variable of a later version', { env: { WAITLESS_METRICS_PORT: '1' } }, 'WAITLESS_METRICS_PORT', /not built yet/],
    ['unknown field', { document: { prot: 1 } }, 'prot', /^prot: there is no such field; did you mean "port"\?$/],
    [
      'field in the wrong place',
      { document: { target: 'score=http://x' } },
      'target',
      /services stand under "services"/,
    ],
    [
      'key in the wrong place',
      { document: { key: 'score=/customerId' } },
      'key',
      /it is a field of a service, such as services: \{ score: \{ key: \{ body: "\/customerId" \} \} \}/,
    ],
    [
      'key of a service that is none',
      { options: { ...score, key: ['scoer=/id'] } },
      'services.scoer.key',
      /^--key: there is no service "scoer"; did you mean "score"\?$/,
    ],
    [
      'key of no service',
      { options: { key: ['score=/id'] } },
      'services.score.key',
      /^--key: .*; add it with --target score=URL or --pull score$/,
    ],
    ['key without a name', { options: { ...score, key: ['/id'] } }, 'key', /^--key: it takes NAME=RULE, such as/],
    [
      'key without a place',
      { options: { ...score, key: ['score=customerId'] } },
      'services.score.key',
      /^--key score: "customerId" is no place of a key; .*did you mean "\/customerId"\?$/,
    ],
    [
      'key of a misspelt place',
      { options: { ...score, key: ['score=qurey:a'] } },
      'services.score.key',
      /did you mean "query"\?$/,
    ],
    [
      'key in no segment',
      { options: { ...score, key: ['score=path:0'] } },
      'services.score.key',
      /^--key score: "0" does not fit; it takes a whole number from 1/,
    ],
    [
      'key in a credential',
      { options: { ...score, key: ['score=header:Authorization'] } },
      'services.score.key',
      /^--key score: "Authorization" carries a credential/,
    ],
    [
      'key twice the same',
      { env: { WAITLESS_KEY: 'score=/a,score=/a' }, options: score },
      'services.score.key',
      /^WAITLESS_KEY score: .*twice; keep one$/,
    ],
    [
      'validity without a unit',
      { options: { ...score, validFor: ['score=24'] } },
      'services.score.validFor',
      /^--valid-for score: "24" is not a duration/,
    ],
    [
      'validity twice',
      { options: { ...score, validFor: ['score=24h', 'score=1h'] } },
      'services.score.validFor',
      /^--valid-for: .*given twice; keep one$/,
    ],
    [
      'validity of a service that is none',
      { env: { WAITLESS_VALID_FOR: 'scores=24h' }, options: score },
      'services.scores.validFor',
      /^WAITLESS_VALID_FOR: .*did you mean "score"\?$/,
    ],
    ['services that are a list', { document: { services: ['score'] } }, 'services', /it takes names of services/],
    [
      'service that is a text',
      { document: { services: { score: 'http://127.0.0.1' } } },
      'services.score',
      /it takes fields such as/,
    ],
    [
      'the same with a target beside it',
      { document: { services: { score: 'x' } }, options: { target: ['score=pull'] } },
      'services.score',
      /it takes fields such as/,
    ],
    ['target without URL', { options: { target: ['score'] } }, 'services', /^--target: it takes NAME=URL/],
    [
      'target with a bad name',
      { options: { target: ['a b=http://x'] } },
      'services.a b',
      /^--target: "a b" is not a name/,
    ],
    [
      'target with a password',
      { options: { target: ['s=http://u:hunter2@x'] } },
      'services.s',
      /^(?!.*hunter2)--target: the service "s": a URL may not carry/,
    ],
    ['target with a query', { options: { target: ['s=http://x/?a=1'] } }, 'services.s', /no query/],
    [
      'target of another scheme',
      { env: { WAITLESS_TARGET: 's=file:///etc/passwd' } },
      'services.s',
      /^WAITLESS_TARGET: .*http or https/,
    ],
    ['target given twice', { options: { target: ['s=http://x', 's=http://y'] } }, 'services.s', /given twice/],
    [
      'target and pull of one name',
      { options: { target: ['s=http://x'], pull: ['s'] } },
      'services.s',
      /^--pull: the service "s" is given twice/,
    ],
    [
      'no file',
      { options: { config: 'missing.yaml' } },
      'config',
      /^--config: the file missing\.yaml does not exist; check the path$/,
    ],
    [
      'no key file',
      { options: { apiKeyFile: 'missing.keys' } },
      'apiKeyFile',
      /^--api-key-file: the file missing\.keys does not exist/,
    ],
  ];
  for (const [title, sources, field, message] of cases) {
    test(title, () => {
      const error = refusal(sources);
      assert.equal(error.field, field);
      assert.match(error.message, message);
      assert.ok(!error.message.includes('\n'));
    });
  }

  const files: [title: string, text: string, message: RegExp][] = [
    ['not YAML', 'port: 1\nhost: [a', /^config: .*; mend the file \(bad\.yaml line 2\)$/],
    ['a key twice', 'port: 1\n\nport: 2\n', /unique.* \(bad\.yaml line 3\)$/],
    ['a tab', 'services:\n\tscore: 1\n', /Tabs are not allowed.* \(bad\.yaml line 2\)$/],
    ['an unknown tag', 'port: !secret hunter2\n', /^(?!.*hunter2).*\(bad\.yaml line 1\)$/],
    ['an unknown alias', 'port: *hunter2\n', /^(?!.*hunter2)config: /],
    ['several documents', 'port: 1\n---\nport: 2\n', /multiple documents.* \(bad\.yaml line 2\)$/],
    ['a list', '- port\n', /must hold fields/],
    ['a wrong value', '# first\nport: high\n', /^port: "high" does not fit; .* \(bad\.yaml line 2\)$/],
    [
      'an unknown field',
      'port: 1\nlogLvel: info\n',
      /^logLvel: there is no such field; did you mean "logLevel"\? \(bad\.yaml line 2\)$/,
    ],
    ['a wrong element', 'allowNetwork:\n  - 10.0.0.0/8\n  - here\n', /^allowNetwork: "here" .* \(bad\.yaml line 3\)$/],
    [
      'a field of a service',
      'services:\n  score:\n    target: { url: "http://127.0.0.1:1" }\n    schema: {}\n',
      /^services\.score\.schema: not built yet; remove the field \(bad\.yaml line 4\)$/,
    ],
  ];
  for (const [title, text, message] of files) {
    test(`config file with ${title}`, () => {
      file('bad.yaml', text);
      assert.match(refusal({ cwd: folder, options: { config: 'bad.yaml' } }).message, message);
    });
  }

  test('a folder instead of a file', () =>
    assert.match(refusal({ cwd: folder, options: { config: '.' } }).message, /is a folder/));

  test('an empty file is no error', () => {
    file('blank.yaml', '# nothing yet\n');
    assert.equal(resolve({ cwd: folder, options: { config: 'blank.yaml' } }).config.port, 7878);
  });
});
