// What each `sslmode` of a database's address lets through: encrypted or not, and whether a stranger with a certificate of his own is believed.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { resolveConfig, startServer, StoreRefused } from '@waitless/server';
import { findPostgres } from '../support/postgres-binaries.ts';
import { clusterFor, postgresMissing, query } from '../support/postgres.ts';
import { temporaryFolder } from '../support/server.ts';

const missing = postgresMissing() ?? (spawnSync('openssl', ['version']).error ? 'no openssl here' : undefined);

/** A certificate for `localhost` that nobody vouches for but itself, and its key. */
function makeCertificate(folder: string, name: string): { certificate: string; key: string } {
  const [certificate, key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost'];
  execFileSync('openssl', ['req', ...kind, ...subject, '-keyout', key, '-out', certificate], { stdio: 'ignore' });
  return { certificate, key };
}

/** A server with TLS, and the files that tell it from others. */
async function withTls(t: TestContext): Promise<{ url: string; own: string; other: string }> {
  const folder = await temporaryFolder(t);
  await chmod(folder, 0o755);
  const [own, other] = [makeCertificate(folder, 'own'), makeCertificate(folder, 'other')];
  const binaries = findPostgres();
  await chmod(own.key, 0o600);
  if ('user' in binaries && binaries.user) await chown(own.key, binaries.user.uid, binaries.user.gid);
  const settings = { ssl: 'on', ssl_cert_file: own.certificate, ssl_key_file: own.key };
  const cluster = await clusterFor(t, { settings });
  return { url: cluster.url(), own: own.certificate, other: other.certificate };
}

describe('sslmode', { skip: missing && `skipped: ${missing}` }, () => {
  test('is kept to the letter', async (t) => {
    const { url, own, other } = await withTls(t);
    const warnings: Error[] = [];
    const note = (warning: Error): void => void warnings.push(warning);
    process.on('warning', note);
    t.after(() => process.off('warning', note));

    /** Whether the sessions of a server with this address are encrypted; or why it does not start. */
    async function outcome(host: string, parameters: string): Promise<'encrypted' | 'plain' | StoreRefused> {
      const name = `w_${randomBytes(6).toString('hex')}`;
      const data = `${url.replace('127.0.0.1', host)}?schema=${name}&application_name=${name}${parameters}`;
      const { config } = resolveConfig({ document: { data, port: 0, logLevel: 'silent' }, env: {}, cwd: '/' });
      const server = await startServer(config).catch((error: unknown) => {
        assert.ok(error instanceof StoreRefused, String(error));
        return error;
      });
      if (server instanceof StoreRefused) return server;
      const rows = await query<{ ssl: boolean }>(
        url,
        `SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = '${name}'`,
      );
      await server.stop();
      assert.equal(rows.length, 1, 'all of its sessions are alike');
      return rows[0]!.ssl ? 'encrypted' : 'plain';
    }

    const file = (path: string): string => `&sslrootcert=${encodeURIComponent(path)}`;
    const rows: [host: string, parameters: string, expected: 'encrypted' | 'plain' | RegExp][] = [
      ['127.0.0.1', '', 'plain'],
      ['127.0.0.1', '&sslmode=disable', 'plain'],
      ['127.0.0.1', '&sslmode=no-verify', 'encrypted'],
      ['127.0.0.1', '&sslmode=require', 'encrypted'],
      ['127.0.0.1', `&sslmode=require${file(own)}`, 'encrypted'],
      ['127.0.0.1', `&sslmode=require${file(other)}`, /certificate/],
      ['127.0.0.1', `&sslmode=verify-ca${file(own)}`, 'encrypted'],
      ['127.0.0.1', `&sslmode=verify-ca${file(other)}`, /certificate/],
      ['127.0.0.1', `&sslmode=verify-full${file(own)}`, /does not match|altnames/i],
      ['127.0.0.1', file(own), /does not match|altnames/i],
      ['localhost', `&sslmode=verify-full${file(own)}`, 'encrypted'],
      ['localhost', `&sslmode=verify-full${file(other)}`, /certificate/],
      ['localhost', '&sslmode=verify-full', /self-signed certificate/],
    ];
    for (const [host, parameters, expected] of rows) {
      const what = `${host} ${parameters.replaceAll(/%2F\S*%2F/g, '')}`;
      const found = await outcome(host, parameters);
      if (typeof expected === 'string') assert.equal(found, expected, what);
      else assert.match((found as StoreRefused).message, expected, what);
    }
    assert.deepEqual(warnings, [], 'the driver warns of nothing');
  });
});
