// A database whose settings may lose what was acknowledged: refused one by one, unless that is accepted, and then said in the log.
import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Client } from 'pg';
import { cleanUp } from '../support/cleanup.ts';
import { clusterFor, postgresMissing, query } from '../support/postgres.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { commandRefuses, loginFor, opens, refused, relationsOf } from './postgres-start.ts';

const missing = postgresMissing();

describe('a start on a database with weak settings', { skip: missing && `skipped: ${missing}`, concurrency: 2 }, () => {
  for (const [whose, value, what] of [
    ['ROLE $user', 'off', 'synchronous_commit is off'],
    ['DATABASE $schema', 'local', 'synchronous_commit is local: a standby that takes over may lack the last commits'],
  ] as const) {
    test(`synchronous_commit ${value} of a ${whose.split(' ')[0]!.toLowerCase()}`, async (t) => {
      const login = await loginFor(t, ['CREATE DATABASE $schema OWNER $user']);
      cleanUp(t, () => query(login.admin, `DROP DATABASE ${login.schema} WITH (FORCE)`));
      const name = whose.replace('$user', login.user).replace('$schema', login.schema);
      await query(login.admin, `ALTER ${name} SET synchronous_commit = ${value}`);
      const url = login.url({ database: login.schema });
      await refused(
        url,
        new RegExp(
          `would lose what was acknowledged \\(${what}\\); mend its settings, or add --i-accept-weak-durability`,
        ),
      );
      const inside = Object.assign(new URL(login.admin), { pathname: `/${login.schema}` }).href;
      assert.equal(await relationsOf(inside, login.schema), undefined);
      const warnings = await opens(url, { acceptWeakDurability: true });
      assert.deepEqual(warnings, [
        `weak durability was accepted: ${what}; a crash of the database may lose what was acknowledged`,
      ]);
      // Another node is not let in for that.
      await refused(url, /would lose what was acknowledged/);
    });
  }

  test('fsync, full_page_writes and data_sync_retry of the server, and a standby', async (t) => {
    const cluster = await clusterFor(t, { settings: { fsync: 'off' } });
    const url = cluster.url();
    const restart = async (settings: Record<string, string>): Promise<void> => {
      await cluster.stop();
      await cluster.start(settings);
    };
    await refused(url, /would lose what was acknowledged \(fsync is off\); mend its settings/);
    await commandRefuses(t, url, /would lose what was acknowledged \(fsync is off\)/);
    assert.equal(await relationsOf(url, 'waitless'), undefined);
    const settings = { services: { jobs: { target: { pull: true } } }, data: url, own: true, nodes: 1 } as const;
    const server = await spawnServer(t, { ...settings, fields: { iAcceptWeakDurability: true, logLevel: 'warn' } });
    assert.match(server.printed, /weak durability was accepted: fsync is off/);
    assert.equal((await server.end('SIGTERM')).code, 0, server.printed);

    await restart({ fsync: 'on', full_page_writes: 'off' });
    await refused(url, /\(full_page_writes is off\)/);
    await restart({ fsync: 'off', full_page_writes: 'off', data_sync_retry: 'on', synchronous_commit: 'off' });
    await refused(
      url,
      /\(fsync is off; full_page_writes is off; synchronous_commit is off; data_sync_retry is on: a failed sync may be forgotten\)/,
    );
    assert.equal((await opens(url, { acceptWeakDurability: true })).length, 4);
    const sound = { fsync: 'on', full_page_writes: 'on', synchronous_commit: 'on' };
    await restart({ ...sound, data_sync_retry: 'on' });
    await refused(url, /\(data_sync_retry is on/);

    // Fewer than a node needs, and all of them taken.
    await restart({
      ...sound,
      data_sync_retry: 'off',
      max_connections: '4',
      superuser_reserved_connections: '0',
      max_wal_senders: '0',
    });
    const held = Array.from({ length: 4 }, () => new Client({ connectionString: url }).on('error', () => {}));
    await Promise.all(held.map((client) => client.connect()));
    await refused(url, /has no connection left \(sorry, too many clients already\)/);
    await cluster.stop();

    const signal = join(cluster.folder, 'data', 'standby.signal');
    await cluster.start({ max_connections: '200', max_wal_senders: '10' });
    await cluster.stop();
    await writeFile(signal, '');
    await chmod(signal, 0o644);
    await cluster.start();
    await refused(url, /is a standby and cannot be written; give the address of the primary/);
  });
});
