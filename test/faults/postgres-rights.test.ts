// A server started on a database that does not let it do what is needed: refused with what to mend, before anything is half made.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cleanUp } from '../support/cleanup.ts';
import { newStore, postgresMissing, query } from '../support/postgres.ts';
import { commandRefuses, loginFor, marker, opens, refused, relationsOf } from './postgres-start.ts';

const missing = postgresMissing();

describe(
  'a start with a user or a schema that is of no use',
  { skip: missing && `skipped: ${missing}`, concurrency: 4 },
  () => {
    test('a wrong password, none, and an unknown user', async (t) => {
      const login = await loginFor(t);
      await refused(
        login.url({ password: `${marker}-wrong` }),
        /does not let user "w_\w+" in \(password authentication failed/,
      );
      await refused(login.url({ user: 'nobody_at_all' }), /does not let user "nobody_at_all" in/);
      const none = login.url({ password: '' }).replace(':@', '@');
      await refused(none, /asks for a password of user "w_\w+" and none is given; set PGPASSWORD/);
      // Its half-made session must not keep the command alive.
      await commandRefuses(t, none, /asks for a password/);
    });

    test('a database that is not there', async (t) => {
      const { url } = await loginFor(t);
      await refused(
        url({ database: 'none_at_all' }),
        /^there is no database "none_at_all" at .*; create it \(createdb none_at_all\)/,
      );
    });

    test('a user who may not create the schema, and may use the one that its sentence asks for', async (t) => {
      const login = await loginFor(t);
      await refused(login.url(), /may not create the schema at .*CREATE SCHEMA s_\w+ AUTHORIZATION "w_\w+"$/);
      assert.equal(await relationsOf(login.admin, login.schema), undefined);
      await query(login.admin, `CREATE SCHEMA ${login.schema} AUTHORIZATION "${login.user}"`);
      await opens(login.url());
    });

    test('a schema of another owner, empty or with a store in it', async (t) => {
      const login = await loginFor(t, ['CREATE SCHEMA $schema']);
      await refused(login.url(), /belongs to "postgres" and user "w_\w+" may not use it; start as "postgres"/);
      await query(login.admin, `GRANT USAGE ON SCHEMA ${login.schema} TO ${login.user}`);
      await refused(login.url(), /belongs to "postgres" and user "w_\w+" may not create tables in it/);
      assert.deepEqual(await relationsOf(login.admin, login.schema), []);

      await opens(`${login.admin}?schema=${login.schema}`);
      const whole = await relationsOf(login.admin, login.schema);
      await refused(login.url(), /may not read and write the tables at .* \(meta\); start as their owner/);
      await query(login.admin, `GRANT SELECT ON ALL TABLES IN SCHEMA ${login.schema} TO ${login.user}`);
      await refused(login.url(), /may not read and write the tables at .* \(callback\)/);
      await query(login.admin, `REVOKE USAGE ON SCHEMA ${login.schema} FROM ${login.user}`);
      await refused(login.url(), /belongs to "postgres" and user "w_\w+" may not use it/);
      assert.deepEqual(await relationsOf(login.admin, login.schema), whole);
      await query(
        login.admin,
        `GRANT USAGE ON SCHEMA ${login.schema} TO ${login.user}`,
        `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${login.schema} TO ${login.user}`,
        `GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${login.schema} TO ${login.user}`,
      );
      await opens(login.url());
    });

    test('a user whose transactions only read', async (t) => {
      const login = await loginFor(t, [
        'CREATE SCHEMA $schema AUTHORIZATION $user',
        'ALTER ROLE $user SET default_transaction_read_only = on',
      ]);
      await refused(login.url(), /has default_transaction_read_only on; switch it off/);
      assert.deepEqual(await relationsOf(login.admin, login.schema), []);
    });

    test('no connection left', async (t) => {
      const login = await loginFor(t, [
        'CREATE SCHEMA $schema AUTHORIZATION $user',
        'ALTER ROLE $user CONNECTION LIMIT 0',
      ]);
      await refused(login.url(), /has no connection left \(too many connections for role .*\); raise max_connections/);
      // The session that prepares the store is let in, and those after it are not.
      await query(login.admin, `ALTER ROLE ${login.user} CONNECTION LIMIT 1`);
      await refused(login.url(), /has no connection left/);
      assert.ok((await relationsOf(login.admin, login.schema))!.includes('operation'), 'what was made is whole');
      await query(login.admin, `ALTER ROLE ${login.user} CONNECTION LIMIT -1`);
      await opens(login.url());
    });

    const foreign: [title: string, statements: string[]][] = [
      ['tables of others', ['CREATE TABLE $schema.customer (id int)']],
      ['a meta of another shape', ['CREATE TABLE $schema.meta (version int)', 'INSERT INTO $schema.meta VALUES (1)']],
      [
        'a meta with keys of another type',
        ['CREATE TABLE $schema.meta (key int, value bytea)', `INSERT INTO $schema.meta VALUES (1, '')`],
      ],
      [
        'a meta that tells of another product',
        [
          'CREATE TABLE $schema.meta (key text, value text)',
          `INSERT INTO $schema.meta VALUES ('product', 'other'), ('schema_version', '1')`,
        ],
      ],
      [
        'a meta without a version',
        ['CREATE TABLE $schema.meta (key text, value text)', `INSERT INTO $schema.meta VALUES ('product', 'waitless')`],
      ],
      ['a view in the place of meta', [`CREATE VIEW $schema.meta AS SELECT 'product' AS key, 'waitless' AS value`]],
    ];
    for (const [title, statements] of foreign) {
      test(`a foreign schema: ${title}`, async (t) => {
        const login = await loginFor(t, [
          'ALTER ROLE $user SUPERUSER',
          'CREATE SCHEMA $schema AUTHORIZATION $user',
          ...statements,
        ]);
        const before = await relationsOf(login.admin, login.schema);
        await refused(
          login.url(),
          /holds other tables than ours \((customer|meta)\); choose another with \?schema=NAME/,
        );
        assert.deepEqual(await relationsOf(login.admin, login.schema), before);
      });
    }

    test('a store of a newer version', async (t) => {
      const { url, schema } = await newStore(t);
      await opens(url);
      await query(url, `UPDATE ${schema}.meta SET value = '99' WHERE key = 'schema_version'`);
      const before = await query(url, `SELECT * FROM ${schema}.meta ORDER BY key`);
      await refused(url, /has schema 99 and this version knows \d+; start the newer version/);
      await commandRefuses(t, url, /has schema 99 and this version knows \d+; start the newer version/);
      assert.deepEqual(await query(url, `SELECT * FROM ${schema}.meta ORDER BY key`), before);
    });

    test('a database in another encoding', async (t) => {
      const login = await loginFor(t);
      await query(
        login.admin,
        `CREATE DATABASE ${login.schema} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0 OWNER ${login.user}`,
      );
      cleanUp(t, () => query(login.admin, `DROP DATABASE ${login.schema} WITH (FORCE)`));
      await refused(login.url({ database: login.schema }), /has encoding SQL_ASCII; create it with ENCODING 'UTF8'/);
      const inside = new URL(login.admin);
      inside.pathname = `/${login.schema}`;
      assert.equal(await relationsOf(inside.href, login.schema), undefined);
    });
  },
);
