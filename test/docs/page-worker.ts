// Takes a worker out of docs/workers.md as it stands there, runs it, and gives it work.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { send } from '../support/http.ts';
import { serverFor, temporaryFolder } from '../support/server.ts';

const page = readFileSync(new URL('../../docs/workers.md', import.meta.url), 'utf8');

/** Whether the machine has a program. */
export const has = (program: string, ...argv: string[]): boolean => spawnSync(program, argv).status === 0;

export interface PageWorker {
  /** Name in the page's `run:` comment. */
  name: string;
  /** The command that runs the saved file in its folder. */
  command: readonly [program: string, ...argv: string[]];
  /** Is done first, such as compiling. */
  before?: readonly [program: string, ...argv: string[]];
}

/** The worker does three jobs of a server that asks for a key. */
export async function assertWorks(t: TestContext, { name, command, before }: PageWorker): Promise<void> {
  const source = new RegExp(`<!-- run: ${name.replace('.', '\\.')} -->\\n\`\`\`\\w+\\n([^]*?)\`\`\``).exec(page)?.[1];
  assert.ok(source, `docs/workers.md has no ${name}`);
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, name), source);
  if (before) {
    const { status, stderr } = spawnSync(before[0], before.slice(1), { cwd: folder, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  }

  const server = await serverFor(t, { services: { jobs: { target: { pull: true } } }, namespaces: ['shop'] });
  const [program, ...argv] = command;
  const worker = spawn(program, argv, {
    cwd: folder,
    env: { ...process.env, WAITLESS_URL: server.url, WAITLESS_API_KEY: server.key('shop') },
    stdio: ['ignore', 'ignore', 'pipe'],
    // A group, so that what a shell has started ends with it.
    detached: true,
  });
  let errors = '';
  worker.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const ended = once(worker, 'close');
  t.after(async () => {
    process.kill(-worker.pid!, 'SIGKILL');
    await ended;
  });
  for (const word of ['paint', 'the', 'fence']) {
    const answer = send(`${server.url}/v1/call/jobs`, {
      method: 'POST',
      key: server.key('shop'),
      headers: { Prefer: 'wait=50' },
      body: word,
    });
    const first = await Promise.race([answer, ended]);
    assert.ok('status' in first, `${name} ended: ${errors}`);
    assert.equal(first.status, 200, errors);
    assert.equal(first.text, word.toUpperCase());
  }
}
