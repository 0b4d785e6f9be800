// The likeliest mistakes of a first hour, each made as a newcomer makes it: the command's exit code, and that its message holds the way out.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from '../../packages/cli/src/support.test.ts';
import { freePort } from '../support/free-port.ts';
import { post } from '../support/http.ts';
import { serverFor, temporaryFolder } from '../support/server.ts';
import { makeSmallDisk } from '../support/small-disk.ts';
import { spawnServer } from '../support/spawn-server.ts';

const bin = fileURLToPath(new URL('../../packages/cli/bin/waitless.js', import.meta.url));
const clean = Object.fromEntries(
  Object.entries(process.env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && !entry[0].startsWith('WAITLESS_'),
  ),
);

interface Typed {
  code: number | null;
  stdout: string;
  stderr: string;
}

interface Where {
  /** An empty folder unless given. */
  cwd?: string;
  url?: string;
  env?: Record<string, string>;
}

const environment = ({ url, env }: Where): Record<string, string> => ({
  ...clean,
  ...(url === undefined ? {} : { WAITLESS_URL: url }),
  ...env,
});

const checked = (typed: Typed): Typed => {
  assert.doesNotMatch(typed.stderr, /^\s+at |this is a bug/m, 'a sentence, not a stack trace');
  return typed;
};

/** What a newcomer types, as a process: servers, and whatever is about the process itself. */
async function waitless(
  t: TestContext,
  argv: readonly string[],
  { node: [node = process.execPath, ...flags] = [], ...where }: Where & { node?: readonly string[] } = {},
): Promise<Typed> {
  const child = spawn(node, [...flags, bin, ...argv], {
    cwd: where.cwd ?? (await temporaryFolder(t)),
    env: environment(where),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return checked({ code: code as number | null, stdout, stderr });
}

/** The same command in this process, where it talks to a server or ends before it would serve: many of these are cheap. */
const asks = async (t: TestContext, argv: readonly string[], where: Where = {}): Promise<Typed> =>
  checked(await run(argv, { cwd: where.cwd ?? (await temporaryFolder(t)), env: environment(where), now: Date.now }));

function assertTold({ code, stdout, stderr }: Typed, wantedCode: number, ...fixes: readonly RegExp[]): void {
  assert.equal(code, wantedCode, `${stdout}${stderr}`);
  assert.equal(stdout, '', 'nothing that a script would take for a result');
  for (const fix of fixes) assert.match(stderr, fix);
}

const json = '{"customerId":"42"}';

/** A Node of this machine that is too old, if there is one that runs at all. */
function oldNode(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/local/bin'];
  return folders
    .map((folder) => join(folder, 'node'))
    .find((path) => {
      try {
        const [major = 0] = execFileSync(path, ['-p', 'process.versions.node'], { stdio: ['ignore', 'pipe', 'ignore'] })
          .toString()
          .split('.')
          .map(Number);
        return major < 22;
      } catch {
        return false;
      }
    });
}

// Many start processes of their own, so a few run side by side.
describe('the likeliest mistakes of a first hour', { concurrency: 4 }, () => {
  test('the wrong port: nobody is there, or somebody else is', async (t) => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const submitted = await asks(t, ['submit', 'score', '-d', json], { url });
    assertTold(
      submitted,
      1,
      /cannot reach http:\S+: connection refused\. Is the server running\? `npx waitless dev` starts one/,
    );
    const looked = await asks(t, ['doctor', '--port', '0', '--url', url]);
    assert.equal(looked.code, 1);
    assert.match(
      looked.stdout,
      /^wrong +server +\S+ cannot be reached: .*`npx waitless serve --target NAME=URL` starts one, or mend --url/m,
    );

    const stranger = createServer((_, response) => void response.writeHead(404).end('<h1>nothing here</h1>'));
    stranger.listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    t.after(() => stranger.close());
    const other = `http://127.0.0.1:${(stranger.address() as AddressInfo).port}`;
    assertTold(await asks(t, ['ls'], { url: other }), 1, /answered 404 .*is that a Waitless server\?/);
    const taken = new URL(other).port;
    const served = await waitless(t, ['serve', '--pull', 'jobs', '--data', ':memory:', '--port', taken]);
    assertTold(served, 1, new RegExp(`port ${taken} on 127\\.0\\.0\\.1 is taken.*--port`));
  });

  test('the backend is down: the operation says so, and the command what to do', async (t) => {
    const target = { url: `http://127.0.0.1:${await freePort()}/score` };
    const retry = { maxAttempts: 2, initialDelay: '0s' };
    const { url } = await serverFor(t, { services: { score: { target, retry } } });
    const submitted = await asks(t, ['submit', 'score', '-d', json, '--wait'], { url });
    assertTold(
      submitted,
      1,
      /all 2 attempts failed; .*the backend could not be reached: connect ECONNREFUSED 127\.0\.0\.1:\d+/,
      /^Start the backend, or mend the service's target; `npx waitless doctor`/m,
    );
    const looked = await asks(t, ['doctor', '--port', '0', '--target', `score=${target.url}`], { url });
    assert.equal(looked.code, 1);
    assert.match(
      looked.stdout,
      /^wrong +backend +score: \S+ cannot be reached: nothing listens there; start it, or mend its URL$/m,
    );
  });

  test('the API key is missing: for a command, and for a server that others can reach', async (t) => {
    const { url } = await serverFor(t, { services: { jobs: { target: { pull: true } } }, namespaces: ['default'] });
    const listed = await asks(t, ['ls'], { url });
    assertTold(
      listed,
      1,
      /a key of this server/,
      /^Give the key in a file with --api-key-file FILE or WAITLESS_API_KEY_FILE, or as WAITLESS_API_KEY/m,
    );
    const wrong = await asks(t, ['ls'], { url, env: { WAITLESS_API_KEY: 'wl_guess' } });
    assertTold(wrong, 1, /--api-key-file FILE/);
    const open = await asks(t, ['serve', '--pull', 'jobs', '--host', '0.0.0.0']);
    assertTold(
      open,
      78,
      /--host: 0\.0\.0\.0 .*make one with `waitless keys new --append FILE` and add --api-key-file FILE, or listen on 127\.0\.0\.1/,
    );

    // And the way that the message shows leads there.
    const cwd = await temporaryFolder(t);
    const made = await asks(t, ['keys', 'new', '--append', 'ops.keys'], { cwd });
    assert.equal(made.code, 0, made.stderr);
    const kept = ['serve', '--pull', 'jobs', '--host', '0.0.0.0', '--api-key-file', 'ops.keys', '--print-config'];
    assert.equal((await asks(t, kept, { cwd })).code, 0);
  });

  test('the body is not JSON where the business key stands in it, or the key is not there', async (t) => {
    const score = { target: { url: 'http://127.0.0.1:9/score' }, key: { body: '/customerId' } };
    const { url } = await serverFor(t, { services: { score } });
    const words = await asks(t, ['submit', 'score', '-d', 'customerId=42'], { url });
    assertTold(words, 1, /not valid JSON/, /needs JSON to find its business key, such as -d '\{"customerId":"42"\}'/);
    const missing = await asks(t, ['submit', 'score', '-d', '{"customer":"42"}'], { url });
    assertTold(missing, 1, /"\/customerId" in the body is missing, and this service reads the business key from it/);
    const answer = await post(`${url}/v1/call/score`, { body: 'customerId=42' });
    assert.equal(answer.status, 400);
    assert.equal(answer.json()['accepted'], false);
    assert.equal((await asks(t, ['ls'], { url })).stdout, '', 'nothing was kept');
  });

  test('a service that is not there: those that are, are named', async (t) => {
    const { url } = await serverFor(t, { services: { score: { target: { pull: true } } } });
    for (const argv of [
      ['submit', 'scoer', '-d', json],
      ['bench', '--service', 'scoer', '--seconds', '1'],
    ])
      assertTold(await asks(t, argv, { url }), 1, /there is no service "scoer" here, only: score\./);
    const keyed = await asks(t, ['serve', '--pull', 'score', '--key', 'scoer=/id']);
    assertTold(keyed, 78, /--key: there is no service "scoer"; did you mean "score"\?/);
  });

  test('a callback to localhost: what to start the server with', async (t) => {
    const { url } = await serverFor(t, { services: { score: { target: { pull: true } } } });
    const argv = ['submit', 'score', '-d', json, '-H', 'Callback-Url: http://localhost:3000/done'];
    const instead = /the host of Callback-Url .* is not public.*start the server with --allow-network for its range/;
    assertTold(await asks(t, argv, { url }), 1, instead);
    const answer = await post(`${url}/v1/call/score`, {
      body: json,
      headers: { 'Callback-Url': 'http://localhost:3000/' },
    });
    assert.equal(answer.status, 422);
    assert.match(String(answer.json()['detail']), instead);
  });

  test('two servers on one folder: the second names the folder and gives way', async (t) => {
    const data = join(await temporaryFolder(t), 'data');
    const services = { jobs: { target: { pull: true } } };
    const server = await spawnServer(t, { services, data, own: true, nodes: 1 });
    const second = await waitless(t, ['serve', '--pull', 'jobs', '--port', '0', '--data', data]);
    assertTold(second, 1, /another process has the store in \S+data open; stop it or choose another --data folder/);
    const looked = await asks(t, ['doctor', '--port', '0', '--data', data, '--url', server.url]);
    assert.equal(looked.code, 0, looked.stdout);
    assert.match(
      looked.stdout,
      /^note +data +\S+ is in use by a server; a second one needs a folder of its own \(--data\)$/m,
    );
    assert.equal((await asks(t, ['submit', 'jobs', '-d', json], { url: server.url })).code, 0, 'the first goes on');
  });

  test('an old Node: one line that says which is needed and how to get it, whatever was typed', async (t) => {
    const fake = join(await temporaryFolder(t), 'old.cjs');
    await writeFile(
      fake,
      `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.4' } });\n`,
    );
    const old = oldNode();
    t.diagnostic(
      old === undefined ? 'no old Node here: only one that says it is' : 'also with an old Node of this machine',
    );
    for (const node of [[process.execPath, '--require', fake], ...(old === undefined ? [] : [[old]])]) {
      for (const argv of [['serve', '--pull', 'jobs'], []]) {
        const typed = await waitless(t, argv, { node });
        assertTold(
          typed,
          1,
          /^waitless needs Node 22\.22 or newer, this is \d+\.\d+\.\d+\. (Try: npx|Get it from https)/,
        );
        assert.equal(typed.stderr.trimEnd().split('\n').length, 1);
      }
    }
  });

  test('a full disk: at the start, and under a server that runs', async (t) => {
    const disk = await makeSmallDisk(t, { megabytes: 80 });
    if (typeof disk === 'string') return t.skip(`skipped: ${disk}`);
    await disk.occupyAllBut(0);
    const data = join(disk.folder, 'data');
    const begun = await waitless(t, ['serve', '--pull', 'jobs', '--port', '0', '--data', data]);
    assertTold(begun, 1, /the disk of \S+data is full; free some space, or give a folder on another disk with --data/);
    const looked = await asks(t, ['doctor', '--port', '0', '--data', data]);
    assert.equal(looked.code, 1);
    assert.match(looked.stdout, /^wrong +data +.*MB free only; free some space, or give another disk with --data$/m);

    await disk.free();
    const { url } = await spawnServer(t, { services: { jobs: { target: { pull: true } } }, data, own: true, nodes: 1 });
    await disk.occupyAllBut(2);
    const body = Buffer.alloc(1024 * 1024, 'x');
    let status = 202;
    for (let sent = 0; status === 202 && sent < 80; sent++)
      status = (await post(`${url}/v1/call/jobs`, { body })).status;
    assert.equal(status, 507, 'the disk was filled');
    const cwd = await temporaryFolder(t);
    await writeFile(join(cwd, 'large'), body);
    const refused = await asks(t, ['submit', 'jobs', '-d', '@large'], { url, cwd });
    assertTold(
      refused,
      1,
      /disk is full/,
      /Nothing was accepted\. Free some space on the disk .*; the server goes on by itself/,
    );
  });

  test('a typing error in the configuration: the field, its place and the one that was meant', async (t) => {
    const typed: [file: string, argv: readonly string[], fix: RegExp][] = [
      ['prot: 1\n', [], /prot: there is no such field; did you mean "port"\? \(waitless\.yaml line 1\)/],
      [
        'services:\n  score:\n    target: { url: "http://127.0.0.1:1" }\n    validfor: 24h\n',
        [],
        /services\.score\.validfor: there is no such field; did you mean "validFor"\? \(waitless\.yaml line 4\)/,
      ],
      [
        'services:\n  score:\n    target: { url: "http://127.0.0.1:1" }\n    key: { body: customerId }\n',
        [],
        /services\.score\.key: .*did you mean "\/customerId"\? \(waitless\.yaml line 4\)/,
      ],
      ['services:\n\tscore: 1\n', [], /Tabs are not allowed.*\(waitless\.yaml line 2\)/],
      ['', ['--target', 'score=127.0.0.1:9001'], /--target: .*http:\/\//],
    ];
    for (const [file, argv, fix] of typed) {
      const cwd = await temporaryFolder(t);
      await writeFile(join(cwd, 'waitless.yaml'), file);
      assertTold(await asks(t, ['serve', ...argv], { cwd }), 78, fix);
    }
    assertTold(await asks(t, ['serve', '--tarjet', 'a=http://127.0.0.1:1']), 2, /Did you mean --target\?/);
    assertTold(await asks(t, ['sreve']), 2, /Did you mean serve\?/);
  });
});
