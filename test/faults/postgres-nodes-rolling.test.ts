// A rolling restart: nobody whose connection was taken goes without an answer, nothing is lost, and what a node carried is given back at once.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { until } from '../support/http.ts';
import { rollingRun } from './postgres-nodes-rolling-run.ts';
import { twoProcesses, withPostgres } from './postgres-nodes.ts';

const kinds = ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const;

test(
  'positive control: nodes that are killed instead cut callers off, and their work comes back late',
  withPostgres,
  async (t) => {
    const { cutOff, ended, verdict } = await rollingRun(t, {
      restarts: 2,
      perSecond: 60,
      between: 60,
      signal: 'SIGKILL',
    });
    assert.ok(cutOff > 0 && ended['interrupted']! > 0, 'the test would have found nothing in any run');
    for (const kind of kinds) assert.deepEqual(verdict[kind], [], kind);
  },
);

test(
  '6 restarts by SIGTERM in turns under load: every accepted connection is answered, nothing is lost, leases come back at once',
  withPostgres,
  async (t) => {
    const { verdict, cutOff, ended, used } = await rollingRun(t, {
      restarts: 6,
      perSecond: 60,
      between: 80,
      signal: 'SIGTERM',
    });
    for (const kind of kinds) assert.deepEqual(verdict[kind], [], kind);
    assert.equal(cutOff, 0);
    assert.deepEqual(used, [], 'a stop uses up no attempt');
    assert.ok(ended['released']! > 0, 'void: no restart met an attempt in flight');
    assert.deepEqual(Object.keys(ended), ['released'], 'nothing waited until its node was taken for dead');
  },
);

test(
  'a busy node that is asked to stop has connections it has not seen yet: each of 200 is answered',
  withPostgres,
  async (t) => {
    const pair = await twoProcesses(t, { services: { jobs: { target: { pull: true } } } });
    // So busy that it sees nothing: the kernel takes the connections for it.
    pair.freeze(0);
    let connected = 0;
    const asking = Array.from({ length: 200 }, async () => {
      const connection = connect({ port: Number(new URL(pair.urls[0]).port), host: '127.0.0.1' });
      await once(connection, 'connect');
      connected++;
      connection.end('POST /v1/call/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx');
      return text(connection);
    });
    await until(() => (connected === 200 ? true : undefined));
    const exit = pair.end(0, 'SIGTERM');
    pair.thaw(0);
    for (const answer of await Promise.all(asking)) {
      const [, status] = /^HTTP\/1\.1 (\d+) /.exec(answer) ?? [];
      // Those that came before the signal was seen are accepted, the others are told that nothing is.
      assert.ok(status === '202' || (status === '503' && answer.includes('"accepted":false')), answer);
    }
    assert.deepEqual(await exit, { code: 0, signal: null });
  },
);
