// The server that event runs kill, and what must hold of such a run.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { freePort } from '../support/free-port.ts';
import { callbackFields } from '../support/receiver.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { type EventKillsOutcome, type Killable, mirrorService } from './event-kills-run.ts';
import { twoProcesses } from './postgres-nodes.ts';

/** One node on a folder. */
export async function serverToKill(t: TestContext): Promise<Killable> {
  const server = await spawnServer(t, {
    services: mirrorService,
    fields: await callbackFields(t),
    data: join(await temporaryFolder(t), 'data'),
    nodes: 1,
    port: await freePort(),
  });
  return { url: () => server.url, kill: () => server.killAndStart(0) };
}

/** Two nodes on one PostgreSQL, asked in turns as long as they live. */
export async function nodesToKill(t: TestContext): Promise<Killable> {
  const pair = await twoProcesses(t, { services: mirrorService, fields: await callbackFields(t) });
  const isUp = [true, true];
  let turn = 0;
  return {
    url: () => pair.urls[isUp[++turn % 2] ? turn % 2 : (turn + 1) % 2]!,
    async kill(random) {
      const victim = Math.floor(random() * 2);
      isUp[victim] = false;
      await pair.end(victim, 'SIGKILL');
      await pair.start(victim);
      isUp[victim] = true;
    },
  };
}

/** @param nodes each may have as much out as the subscription allows: over several it holds softly */
export function assertComplete(
  { verdicts, wentBack, repeated, allowed, void: isVoid }: EventKillsOutcome,
  nodes: 1 | 2 = 1,
): void {
  assert.equal(isVoid, undefined, 'void');
  for (const [name, verdict] of Object.entries(verdicts)) {
    assert.ok(verdict.ok > 0 && verdict.fail > 0, 'some are acknowledged, some are refused');
    for (const kind of ['lost', 'unexpected', 'duplicated', 'wrong'] as const)
      assert.deepEqual(verdict[kind].slice(0, 20), [], `${name}: ${kind}`);
    assert.ok(
      repeated[name]! <= allowed[name]! * nodes,
      `${name}: ${repeated[name]} came again, where ${allowed[name]! * nodes} may have`,
    );
  }
  assert.deepEqual(wentBack, [], 'a cursor went back');
}
