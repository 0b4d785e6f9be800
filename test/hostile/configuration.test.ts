// Configuration that is wrong: the command ends with 78 before it listens or writes anything, and names the field.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../support/server.ts';

const bin = fileURLToPath(new URL('../../packages/cli/bin/waitless.js', import.meta.url));
const sha256 = 'a'.repeat(64);

interface Wrong {
  what: string;
  /** Words of the command line after `serve`. */
  argv?: readonly string[];
  env?: Readonly<Record<string, string>>;
  /** Content of waitless.yaml. */
  file?: string;
  /** Content of a file named keys. */
  keys?: string;
  /** What the message must name. */
  names: RegExp;
}

const service = (fields: string): string =>
  `services:\n  score:\n    target: { url: http://127.0.0.1:9001 }\n    ${fields}\n`;

const rows: readonly Wrong[] = [
  { what: 'a port that is none', argv: ['--port', '65536'], names: /--port/ },
  { what: 'a port that is text', argv: ['--port', 'http'], names: /--port/ },
  { what: 'a negative port', argv: ['--port=-1'], names: /--port/ },
  { what: 'a variable with a wrong value', env: { WAITLESS_PORT: '1e3' }, names: /WAITLESS_PORT/ },
  { what: 'a variable that is none', env: { WAITLESS_PROT: '1' }, names: /WAITLESS_PROT/ },
  ...['WAITLESS_METRICS_PORT'].map((name): Wrong => ({
    what: `the variable ${name} that is not built yet`,
    env: { [name]: '1' },
    names: new RegExp(`${name}.*not built yet`),
  })),
  { what: 'an address of others without a key', argv: ['--host', '0.0.0.0'], names: /--host|api-key-file/ },
  { what: 'every address of IPv6 without a key', argv: ['--host', '::'], names: /--host|api-key-file/ },
  {
    what: 'a name that only looks like loopback',
    argv: ['--host', 'localhost.example.com'],
    names: /--host|api-key-file/,
  },
  { what: 'a target that is no URL', argv: ['--target', 'score=9001'], names: /--target/ },
  { what: 'a target without a name', argv: ['--target', 'http://127.0.0.1:9001'], names: /--target/ },
  { what: 'a target of another scheme', argv: ['--target', 'score=file:///etc/passwd'], names: /--target/ },
  { what: 'a target with a name that is none', argv: ['--target', '../x=http://127.0.0.1:1'], names: /--target/ },
  { what: 'a pull service named __proto__', argv: ['--pull', '__proto__'], names: /--pull/ },
  { what: 'a public URL that is none', argv: ['--public-url', 'queue.example.com'], names: /--public-url/ },
  { what: 'a public URL that is script', argv: ['--public-url', 'javascript:alert(1)'], names: /--public-url/ },
  { what: 'a backend URL with a query', argv: ['--backend-url', 'http://a/?b'], names: /--backend-url/ },
  { what: 'a range that is none', argv: ['--trust-proxy', '10.0.0.0/33'], names: /--trust-proxy/ },
  { what: 'a network that is text', argv: ['--allow-network', 'intranet'], names: /--allow-network/ },
  { what: 'an origin with a path', argv: ['--cors-origin', 'https://a.example/path'], names: /--cors-origin/ },
  { what: 'every origin', argv: ['--cors-origin', '*'], names: /--cors-origin/ },
  { what: 'memory that is no size', argv: ['--max-body-memory', 'lots'], names: /--max-body-memory/ },
  { what: 'memory beyond 2^53', argv: ['--max-body-memory', '9007199254740993gb'], names: /--max-body-memory/ },
  { what: 'a log level that is none', argv: ['--log-level', 'loud'], names: /--log-level/ },
  ...[
    ['a scheme that is misspelled', 'postgress://app:ossifrage@127.0.0.1/jobs', /no other URL/],
    ['another scheme', 'mysql://app:ossifrage@127.0.0.1/jobs', /no other URL/],
    ['no scheme', 'app:ossifrage@127.0.0.1:5432/jobs', /write postgres:\/\/ before it/],
    ['no host', 'postgres://app:ossifrage@/jobs', /the host is missing/],
    ['a forgotten host', 'postgres://app:ossifrage/jobs', /the port takes/],
    ['several hosts', 'postgres://app:ossifrage@a,b/jobs', /one name or address/],
    ['no database', 'postgres://app:ossifrage@127.0.0.1:5432', /the name of the database is missing/],
    ['port 0', 'postgres://app:ossifrage@127.0.0.1:0/jobs', /the port takes/],
    ['port 65536', 'postgres://app:ossifrage@127.0.0.1:65536/jobs', /the port takes/],
    ['a password that is not encoded', 'postgres://app:12/ossifrage?x@127.0.0.1/jobs', /percent-encoded/],
    [
      'a parameter that is not known',
      'postgres://app:ossifrage@127.0.0.1/jobs?shema=a',
      /"shema"; did you mean "schema"/,
    ],
    ['the password as a parameter', 'postgres://127.0.0.1/jobs?password=ossifrage', /no parameter "password"/],
    ['two schemas', 'postgres://app:ossifrage@127.0.0.1/jobs?schema=a&schema=b', /"schema" stands there twice/],
    ['a schema that is none', 'postgres://app:ossifrage@127.0.0.1/jobs?schema=a.b', /the schema "a\.b" does not fit/],
    ['a schema that is SQL', 'postgres://app:ossifrage@127.0.0.1/jobs?schema=a%22%3B--', /does not fit/],
    ['a TLS mode that is none', 'postgres://app:ossifrage@127.0.0.1/jobs?sslmode=on', /sslmode: "on" does not fit/],
    [
      'a certificate that is not there',
      'postgres://app:ossifrage@127.0.0.1/jobs?sslmode=verify-full&sslrootcert=none.pem',
      /the file none\.pem does not exist/,
    ],
  ].map(([what, data, names], index): Wrong => {
    const [address, { source }] = [data as string, names as RegExp];
    // Each goes one of the three ways; packages/server/src/config/store.test.ts goes them all, without a process for each.
    const ways: readonly Omit<Wrong, 'what'>[] = [
      { argv: ['--data', address], names: new RegExp(`--data: .*${source}`) },
      { env: { WAITLESS_DATA: address }, names: new RegExp(`WAITLESS_DATA: .*${source}`) },
      {
        file: `# first\ndata: '${address}'\n`,
        names: new RegExp(` data: .*${source}.*\\(waitless\\.yaml line 2\\)`),
      },
    ];
    return { what: `an address with ${what as string}`, ...ways[index % ways.length]! };
  }),
  {
    what: 'a password twice',
    argv: ['--data-password-file', 'keys'],
    env: { WAITLESS_DATA: 'postgres://app:ossifrage@127.0.0.1/jobs' },
    keys: 'ossifrage',
    names: /--data-password-file: .*keep one/,
  },
  {
    what: 'a password file of two lines',
    argv: ['--data', 'postgres://app@127.0.0.1/jobs'],
    env: { WAITLESS_DATA_PASSWORD_FILE: 'keys' },
    keys: 'ossifrage\nossifrage\n',
    names: /WAITLESS_DATA_PASSWORD_FILE: .*one line/,
  },
  {
    what: 'a password file without an address',
    argv: ['--data-password-file', 'keys'],
    keys: 'ossifrage',
    names: /--data-password-file: .*add --data postgres:/,
  },
  {
    what: 'weak durability without an address',
    env: { WAITLESS_I_ACCEPT_WEAK_DURABILITY: 'true' },
    names: /WAITLESS_I_ACCEPT_WEAK_DURABILITY: .*add --data postgres:/,
  },
  {
    what: 'weak durability that is neither true nor false',
    file: 'iAcceptWeakDurability: yes please\n',
    names: /iAcceptWeakDurability: .*true or false/,
  },
  {
    what: 'an address as another option',
    argv: ['--api-key-file', 'postgres://app:ossifrage@127.0.0.1/jobs'],
    names: /--api-key-file: /,
  },
  { what: 'a config file that is not there', argv: ['--config', 'nothing.yaml'], names: /nothing\.yaml/ },
  { what: 'a config file that is a folder', argv: ['--config', '.'], names: /--config/ },
  { what: 'a key file that is not there', argv: ['--api-key-file', 'nothing'], names: /--api-key-file/ },
  { what: 'a key file without a key', argv: ['--api-key-file', 'keys'], keys: '# none yet\n', names: /keys/ },
  {
    what: 'a key file with a key instead of its hash',
    argv: ['--api-key-file', 'keys'],
    keys: 'a default ossifrage\n',
    names: /keys line 1/,
  },
  {
    what: 'a key file with a wrong namespace',
    argv: ['--api-key-file', 'keys'],
    keys: `a ../b ${sha256}\n`,
    names: /keys line 1/,
  },
  {
    what: 'the hash of an empty key',
    argv: ['--api-key-file', 'keys'],
    keys: 'a b e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n',
    names: /keys line 1/,
  },
  { what: 'a file that is no YAML', file: 'services: [\n', names: /waitless\.yaml/ },
  {
    what: 'a field that is not known',
    file: 'prot: 1\n',
    names: /waitless\.yaml line 1.*prot|prot.*waitless\.yaml line 1/,
  },
  { what: 'a field named __proto__', file: '__proto__: { port: 1 }\n', names: /__proto__/ },
  { what: 'a field given twice', file: 'port: 1\nport: 2\n', names: /waitless\.yaml/ },
  {
    what: 'a billion laughs',
    file: `a: &a [x]\n${'bcdefghij'
      .split('')
      .map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefghij'[i]!}`).join(',')}]`)
      .join('\n')}\n`,
    names: /waitless\.yaml/,
  },
  { what: 'services that are a list', file: 'services: [score]\n', names: /services/ },
  { what: 'a service without a target', file: 'services: { score: {} }\n', names: /services\.score\.target/ },
  {
    what: 'a service with a name that is none',
    file: 'services: { "a/b": { target: { pull: true } } }\n',
    names: /a\/b/,
  },
  {
    what: 'two targets in one',
    file: 'services: { score: { target: { pull: true, url: "http://127.0.0.1:1" } } }\n',
    names: /services\.score\.target/,
  },
  {
    what: 'a header of a target that splits',
    file: 'services: { score: { target: { url: "http://127.0.0.1:1", headers: { X-A: "a\\r\\nb" } } } }\n',
    names: /services\.score\.target\.headers/,
  },
  {
    what: 'a header of a target that is ours',
    file: 'services: { score: { target: { url: "http://127.0.0.1:1", headers: { Operation-Id: "a" } } } }\n',
    names: /services\.score\.target\.headers/,
  },
  {
    what: 'a header to forward that frames the message',
    file: service('forward: [transfer-encoding]'),
    names: /services\.score\.forward/,
  },
  ...['schema: {}'].map((field): Wrong => ({
    what: `the field ${field.split(':')[0]} that is not built yet`,
    file: service(field),
    names: new RegExp(`services\\.score\\.${field.split(':')[0]}.*not built yet`),
  })),
  {
    what: 'a secret of a target that is none',
    file: 'services: { score: { target: { url: "http://127.0.0.1:1", secret: whsec_ossifrage } } }\n',
    names: /services\.score\.target\.secret: .*24 to 64 random bytes.*line 1/,
  },
  {
    what: 'a key of a service that is none',
    argv: ['--pull', 'score', '--key', 'scoer=/id'],
    names: /--key: .*did you mean "score"/,
  },
  {
    what: 'a key without a place',
    argv: ['--pull', 'score'],
    env: { WAITLESS_KEY: 'score=id' },
    names: /WAITLESS_KEY score: .*did you mean "\/id"/,
  },
  {
    what: 'a validity without a service',
    env: { WAITLESS_VALID_FOR: '24h' },
    names: /WAITLESS_VALID_FOR: it takes NAME=DURATION/,
  },
  ...[
    'key: { header: cookie }',
    'validFor: 24',
    'staleWhileRevalidate: never',
    'poll: 2',
    'rate: 100',
    'maxQueued: -5',
  ].map((field): Wrong => ({
    what: field,
    file: service(field),
    names: new RegExp(`services\\.score\\.${field.split(':')[0]}: .*line 4`),
  })),
  ...['--metrics-port'].map((flag): Wrong => ({
    what: `the option ${flag} that is not built yet`,
    argv: [flag, 'score=1'],
    names: new RegExp(flag),
  })),
  ...['timeout: -1s', 'timeout: 9007199254740993d', 'mode: fast', 'concurrency: 1e999', 'retry: { attempts: 5 }'].map(
    (field): Wrong => ({
      what: field,
      file: service(field),
      names: new RegExp(`services\\.score\\.${field.split(':')[0]}`),
    }),
  ),
  {
    what: 'a body limit beyond the memory for bodies',
    file: `maxBodyMemory: 1mb\n${service('maxBody: 2mb')}`,
    names: /services\.score\.maxBody/,
  },
];

const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WAITLESS_')));

async function refused(t: TestContext, { argv = [], env = {}, file, keys, names }: Wrong): Promise<void> {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'work'));
  const cwd = join(folder, 'work');
  if (file !== undefined) await writeFile(join(cwd, 'waitless.yaml'), file);
  if (keys !== undefined) await writeFile(join(cwd, 'keys'), keys);
  const before = readdirSync(cwd);
  const port = argv.some((word) => word.startsWith('--port')) || 'WAITLESS_PORT' in env ? [] : ['--port', '0'];
  const child = spawn(process.execPath, [bin, 'serve', ...port, ...argv], {
    cwd,
    env: { ...clean, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  assert.equal(code, 78, `${stdout}${stderr}`);
  assert.match(stderr, names);
  assert.equal(stdout, '', 'nothing on standard output');
  assert.doesNotMatch(stderr, /ossifrage|^\s+at /m, 'no secret and no stack trace');
  assert.ok(stderr.trim().split('\n').length <= 3, stderr);
  assert.deepEqual(readdirSync(cwd), before, 'nothing was written');
}

// Each starts a process of its own, so a few run side by side.
describe('a wrong configuration ends the command with 78 and names the field', { concurrency: 4 }, () => {
  for (const row of rows) test(row.what, (t) => refused(t, row));
});
