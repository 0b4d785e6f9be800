// Where the secret key lies: what was given, else the usual place of the user, and never in the data.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeConfig, resolveConfig } from '../index.ts';

const placeOf = (options: Record<string, string>, env: Record<string, string> = {}): string | undefined =>
  resolveConfig({ options, env, cwd: '/srv' }).config.secretKeyFile;

test('the usual place is that for settings of the user; where there is no home there is none', () => {
  assert.equal(placeOf({}, { HOME: '/home/u' }), '/home/u/.config/waitless/secret.key');
  assert.equal(placeOf({}, { HOME: '/root' }), '/root/.config/waitless/secret.key');
  assert.equal(placeOf({}, { HOME: '/home/u', XDG_CONFIG_HOME: '/etc/u' }), '/etc/u/waitless/secret.key');
  assert.equal(placeOf({}, { HOME: '/home/u', XDG_CONFIG_HOME: 'relative' }), '/home/u/.config/waitless/secret.key');
  for (const env of [{}, { HOME: '' }, { HOME: '/' }, { HOME: 'x' }])
    assert.equal(placeOf({}, env as never), undefined);
});

test('a given one counts from the working folder, also as a variable and for a database', () => {
  assert.equal(placeOf({ secretKeyFile: 'k' }, { HOME: '/home/u' }), '/srv/k');
  assert.equal(placeOf({}, { WAITLESS_SECRET_KEY_FILE: '/run/k' }), '/run/k');
  assert.equal(placeOf({ secretKeyFile: 'k', data: 'postgres://u@db/x' }), '/srv/k');
  assert.equal(placeOf({ data: 'postgres://u@db/x' }, { HOME: '/home/u' }), '/home/u/.config/waitless/secret.key');
});

test('in the data folder it is refused; the usual place is not taken where it lies there', () => {
  for (const path of ['data/k', '/srv/data/a/../k', '/srv/data'])
    assert.throws(
      () => placeOf({ secretKeyFile: path, data: 'data' }),
      /--secret-key-file: .*in the data folder.*name a file elsewhere/,
      path,
    );
  assert.equal(placeOf({ secretKeyFile: '/srv/data-k', data: 'data' }), '/srv/data-k');
  assert.equal(placeOf({ secretKeyFile: '/srv/data/../k', data: 'data' }), '/srv/k');
  assert.equal(placeOf({ secretKeyFile: '/srv/..k', data: 'data' }), '/srv/..k');
  assert.throws(() => placeOf({ secretKeyFile: '/srv/data/..k', data: 'data' }), /in the data folder/);
  assert.equal(placeOf({ data: '/home/u' }, { HOME: '/home/u' }), undefined);
});

test('a store in memory has none, and says that a given one does nothing', () => {
  const resolved = resolveConfig({ options: { data: ':memory:', secretKeyFile: 'k' }, env: {}, cwd: '/srv' });
  assert.equal(resolved.config.secretKeyFile, undefined);
  assert.match(resolved.warnings.join(), /--secret-key-file does nothing here/);
  assert.match(describeConfig(resolved), /^secretKeyFile: k +# flag --secret-key-file$/m);
});
