// The workers of examples/workers share work with one another, through a restart of the server and the stop of workers that are busy.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Operation, TimelineEntry } from '@waitless/protocol';
import { cleanUp } from '../support/cleanup.ts';
import { get, send } from '../support/http.ts';
import { serverFor, temporaryFolder } from '../support/server.ts';
import { watched } from './watched.ts';

const folder = fileURLToPath(new URL('../../examples/workers', import.meta.url));

export interface Language {
  name: 'python' | 'shell' | 'go';
  command: readonly [program: string, ...argv: string[]];
}

export const python: Language = { name: 'python', command: ['python3', join(folder, 'worker.py')] };
export const shell: Language = { name: 'shell', command: ['sh', join(folder, 'worker.sh')] };

/** The worker in Go, compiled. */
export async function go(t: TestContext): Promise<Language> {
  const program = join(await temporaryFolder(t), 'worker');
  const { status, stderr } = spawnSync('go', ['build', '-o', program, 'worker.go'], { cwd: folder, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return { name: 'go', command: [program] };
}

/** Texts of all kinds: none that ends in a line, several lines, letters beyond ASCII, bytes that are no text. */
function text(number: number): Buffer {
  if (number % 10 === 9) return Buffer.from([0xff, 0x20, 0x00, 0xfe, 0x0a, number]);
  return Buffer.from(
    `paint ${'the  long\tfence '.repeat(number)}\nwith "Grün" \\ and 漆${number % 2 === 0 ? '\n' : ''}`,
  );
}

function counted(bytes: Buffer): object {
  const letters = bytes.toString('latin1');
  return {
    lines: letters.split('\n').length - 1,
    words: letters.split(/[ \t\n\r\v\f]+/).filter((word) => word !== '').length,
    bytes: bytes.length,
  };
}

/** Each look is a request, so that the pause only keeps the machine free for the workers. */
async function until(fact: () => boolean | Promise<boolean>, stopped: AbortSignal): Promise<void> {
  while (!(await fact())) await pause(50, undefined, { signal: stopped });
}

/**
 * Thirty jobs. Each language has one worker that never gets done with its first job, and one that does the others: what the stuck ones hold stays
 * theirs as long as they extend it, and is done by the others once they were asked to stop.
 */
export async function shareWork(t: TestContext, languages: readonly Language[]): Promise<void> {
  const server = await serverFor(t, {
    data: 'folder',
    services: { texts: { target: { pull: true }, lease: '5s' } },
    namespaces: ['shop'],
  });
  const key = server.key('shop');
  const way = await watched(t, server.url);
  const failed = new AbortController();

  function startWorker({ name, command: [program, ...argv] }: Language, stepSeconds: string) {
    const child = spawn(program, argv, {
      env: {
        ...process.env,
        WAITLESS_URL: way.url,
        WAITLESS_API_KEY: key,
        STEP_SECONDS: stepSeconds,
        LEASE_SECONDS: '5',
      },
      stdio: ['ignore', 'ignore', 'pipe'],
      // A group, so that what a shell has started ends with it.
      detached: true,
    });
    let errors = '';
    let asked = false;
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    const ended = once(child, 'close').then(([code]) => {
      if (!asked) failed.abort(new Error(`the worker in ${name} ended with ${code}:\n${errors}`));
      return code as number | null;
    });
    cleanUp(t, async () => {
      asked = true;
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        // Nothing is left of it.
      }
      await ended;
    });
    return {
      name,
      async stop(): Promise<void> {
        asked = true;
        child.kill('SIGTERM');
        assert.equal(await ended, 0, `${name}: ${errors}`);
        assert.match(errors, /stopped\n$/, name);
      },
    };
  }

  const polls = (name: string): number =>
    way.seen.filter(({ path, body }) => path.endsWith('/leases') && body.includes(`"${name}"`)).length;
  const submit = async (bytes: Buffer): Promise<string> => {
    const answer = await send(`${server.url}/v1/call/texts`, { method: 'POST', key, body: bytes });
    assert.equal(answer.status, 202, answer.text);
    return answer.json<Operation>().id;
  };
  const operation = async (id: string): Promise<Operation> =>
    (await get(`${server.url}/v1/operations/${id}`, { key })).json<Operation>();
  const running = async (ids: readonly string[]): Promise<string[]> => {
    const states = await Promise.all(ids.map(operation));
    return states.filter(({ done }) => !done).map(({ id }) => id);
  };

  // One stuck worker for each language, and a job for each.
  const stuck = languages.map((language) => startWorker(language, '600'));
  await until(() => stuck.every(({ name }) => polls(name) === 1), failed.signal);
  const texts = new Map<string, Buffer>();
  const submitNext = async (): Promise<string> => {
    const bytes = text(texts.size);
    const id = await submit(bytes);
    texts.set(id, bytes);
    return id;
  };
  const held = await Promise.all(stuck.map(submitNext));
  await until(
    async () => (await Promise.all(held.map(operation))).every(({ progress }) => progress?.stage === 'counting lines'),
    failed.signal,
  );

  // The others do all the rest. In the middle of it the server is restarted.
  const busy = languages.map((language) => startWorker(language, '0.05'));
  await until(() => busy.every(({ name }) => polls(name) === 2), failed.signal);
  const empty = await submit(Buffer.alloc(0));
  const rest: string[] = [];
  while (texts.size < 30) rest.push(await submitNext());
  await until(async () => (await running(rest)).length <= 20, failed.signal);
  await server.restart();
  await until(async () => (await running(rest)).length === 0, failed.signal);

  // What the stuck ones hold would have run out long ago without their heartbeats.
  const tokens = way.seen
    .filter(({ path }) => path.endsWith('/progress'))
    .map(({ path }) => path.split('/')[3]!)
    .slice(0, held.length);
  const beats = (token: string): number =>
    way.seen.filter(({ path, status }) => path === `/v1/leases/${token}/extend` && status === 200).length;
  await until(() => tokens.every((token) => beats(token) >= 4), failed.signal);
  for (const id of held) {
    const { status, attempt } = await operation(id);
    assert.deepEqual({ status, attempt }, { status: 'running', attempt: 1 });
  }
  await Promise.all(stuck.map((worker) => worker.stop()));
  await until(async () => (await running(held)).length === 0, failed.signal);
  await Promise.all(busy.map((worker) => worker.stop()));

  const by = new Map<string, string[]>();
  for (const [id, bytes] of texts) {
    const result = await get(`${server.url}/v1/operations/${id}/result`, { key });
    assert.equal(result.status, 200, result.text);
    assert.equal(result.headers['content-type'], 'application/json');
    const { by: name, ...counts } = result.json<{ by: string }>();
    assert.deepEqual(counts, counted(bytes));
    by.set(name, [...(by.get(name) ?? []), id]);
  }
  assert.deepEqual([...by.keys()].toSorted(), languages.map(({ name }) => name).toSorted());
  for (const id of held) {
    const { items } = (await get(`${server.url}/v1/operations/${id}/timeline`, { key })).json<{
      items: TimelineEntry[];
    }>();
    const outcomes = items.filter(({ type }) => type === 'attempt').map(({ outcome }) => outcome);
    assert.deepEqual(outcomes, ['released', 'succeeded'], 'given back, then done by another');
  }
  const { status, error } = await operation(empty);
  assert.deepEqual({ status, code: error?.code }, { status: 'failed', code: 'no-text' });
}
