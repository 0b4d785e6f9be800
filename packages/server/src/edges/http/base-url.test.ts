// Whose word about our own URL and the caller's address is believed.
import assert from 'node:assert/strict';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { describe, test } from 'node:test';
import { baseOf, type BaseOptions, clientAddress } from './base-url.ts';

const request = (remoteAddress: string | undefined, headers: IncomingHttpHeaders): IncomingMessage =>
  ({ socket: { remoteAddress }, headers }) as IncomingMessage;
const trusting =
  (...addresses: string[]): BaseOptions['isTrustedProxy'] =>
  (address) =>
    addresses.includes(address);
const plain: BaseOptions = { publicUrl: undefined, isTrustedProxy: undefined, anyAddress: false };
const listening = 'http://127.0.0.1:7878';

describe('the base of the URLs in answers', () => {
  const spoof = { host: 'localhost', 'x-forwarded-host': 'evil.example', forwarded: 'host=evil.example;proto=https' };
  const rows: readonly (readonly [
    what: string,
    options: Partial<BaseOptions>,
    headers: IncomingHttpHeaders,
    base: string,
  ])[] = [
    ['the listening URL', {}, { host: 'localhost' }, listening],
    ['nobody is believed by default', {}, spoof, listening],
    ['the public URL', { publicUrl: 'https://q.example' }, spoof, 'https://q.example'],
    ['another proxy is trusted', { isTrustedProxy: trusting('10.0.0.2') }, spoof, listening],
    [
      'the caller’s Host where every address is listened on',
      { anyAddress: true },
      { host: 'q.example:80' },
      'http://q.example:80',
    ],
    ['a Host that is none', { anyAddress: true }, { host: 'evil.example/path' }, listening],
    ['no Host', { anyAddress: true }, {}, listening],
    [
      'Forwarded goes before X-Forwarded-Host',
      { isTrustedProxy: trusting('10.0.0.1') },
      { ...spoof, forwarded: 'for=1.1.1.1;HOST="a.example:1";Proto=HTTPS, host=b' },
      'https://a.example:1',
    ],
    [
      'the first element counts',
      { isTrustedProxy: trusting('10.0.0.1') },
      { 'x-forwarded-host': ' a.example , b', 'x-forwarded-proto': 'https,http' },
      'https://a.example',
    ],
    [
      'a trusted proxy over the public URL',
      { isTrustedProxy: trusting('10.0.0.1'), publicUrl: 'https://q.example' },
      { 'x-forwarded-host': 'a.example' },
      'http://a.example',
    ],
    [
      'a trusted proxy that says nothing',
      { isTrustedProxy: trusting('10.0.0.1'), publicUrl: 'https://q.example' },
      {},
      'https://q.example',
    ],
    [
      'a host with a user',
      { isTrustedProxy: trusting('10.0.0.1') },
      { 'x-forwarded-host': 'a@evil.example' },
      listening,
    ],
    [
      'a proto that is none',
      { isTrustedProxy: trusting('10.0.0.1') },
      { 'x-forwarded-host': 'a.example', 'x-forwarded-proto': 'javascript' },
      listening,
    ],
    [
      'a port of six digits',
      { isTrustedProxy: trusting('10.0.0.1') },
      { 'x-forwarded-host': 'a.example:123456' },
      listening,
    ],
  ];
  for (const [what, options, headers, base] of rows)
    test(what, () => assert.equal(baseOf(request('10.0.0.1', headers), { ...plain, ...options }, listening), base));
});

describe('the address of the caller', () => {
  const trusted = trusting('10.0.0.1', '10.0.0.2');
  const rows: readonly (readonly [
    what: string,
    peer: string | undefined,
    forwardedFor: string | undefined,
    address: string,
  ])[] = [
    ['the peer', '8.8.8.8', undefined, '8.8.8.8'],
    ['a peer that is not trusted says who it is', '8.8.8.8', '1.1.1.1', '8.8.8.8'],
    ['a trusted proxy', '10.0.0.1', '1.1.1.1', '1.1.1.1'],
    ['what the caller invented stands before', '10.0.0.1', '6.6.6.6, 1.1.1.1', '1.1.1.1'],
    ['two trusted proxies', '10.0.0.1', '6.6.6.6, 1.1.1.1,10.0.0.2', '1.1.1.1'],
    ['trusted proxies alone', '10.0.0.1', '10.0.0.2', '10.0.0.2'],
    ['a proxy that says nothing', '10.0.0.1', undefined, '10.0.0.1'],
    ['a socket that is gone', undefined, '1.1.1.1', ''],
  ];
  for (const [what, peer, forwardedFor, address] of rows)
    test(what, () =>
      assert.equal(
        clientAddress(request(peer, forwardedFor === undefined ? {} : { 'x-forwarded-for': forwardedFor }), trusted),
        address,
      ),
    );
});
