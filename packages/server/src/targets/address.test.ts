// The guard of outbound requests: what is connected to counts, at the moment of connecting.
import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { addressGuard, isOpenPort, isPublicAddress } from './address.ts';

const address = (text: string): LookupAddress => ({ address: text, family: text.includes(':') ? 6 : 4 });

test('public addresses are public in every spelling, and their neighbours are not', () => {
  for (const one of [
    '1.1.1.1',
    '172.15.255.255',
    '172.32.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '223.255.255.255',
    '2606:4700::1111',
    '2a00::1',
    '64:ff9b::101:101',
    '::ffff:8.8.8.8',
    '2002:101:101::1',
  ])
    assert.equal(isPublicAddress(one), true, one);
  for (const one of [
    '172.31.255.255',
    '100.127.255.255',
    '::',
    '::1',
    'fe80::1%eth0',
    '::ffff:10.0.0.1',
    '2002:a00:1::',
    '2001::1',
    '2001:2::1',
    '4000::1',
    'nonsense',
    '',
  ])
    assert.equal(isPublicAddress(one), false, one);
});

test('a name is as good as the worst of its addresses, and local names need an allowed range', async () => {
  let found: string[] = [];
  const guard = addressGuard({
    isAllowed: (one) => one.startsWith('10.1.'),
    resolve: () => Promise.resolve(found.map(address)),
  });
  const verdict = (url: string, ...addresses: string[]): Promise<string> => {
    found = addresses;
    return guard.check(url).then(
      () => 'fits',
      (error: { code: string }) => error.code,
    );
  };
  assert.equal(await verdict('http://example.com/', '1.1.1.1', '2606:4700::1111'), 'fits');
  assert.equal(await verdict('http://example.com/', '1.1.1.1', '127.0.0.1'), 'target-forbidden');
  assert.equal(await verdict('http://example.com/', '1.1.1.1', '::ffff:10.0.0.1'), 'target-forbidden');
  assert.equal(await verdict('http://example.com/'), 'target-forbidden');
  assert.equal(await verdict('http://example.com/', '10.1.2.3'), 'fits');
  for (const host of ['db', 'api.internal', 'localhost', 'a.localhost', 'printer.local', 'api.internal.']) {
    assert.equal(await verdict(`http://${host}/`, '1.1.1.1'), 'target-forbidden', host);
    assert.equal(await verdict(`http://${host}/`, '10.1.2.3'), 'fits', host);
  }
});

/** The table of the threat model, one row a line: every spelling of what must not be reached. Resolvers may say what they like: a public address here. */
const closed: readonly (readonly [row: string, urls: string])[] = [
  [
    'S1-S6',
    'http://127.1/ http://0177.0.0.1/ http://0x7f.1/ http://2130706433/ http://017700000001/ http://0x7f000001/',
  ],
  ['S7', 'http://127.0.0.1./'],
  ['S8-S9', 'http://0/ http://0.0.0.0/'],
  ['S10-S11', 'http://[::]/ http://[::1]/'],
  ['S12-S14', 'http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/ http://[0:0:0:0:0:ffff:127.0.0.1]/'],
  ['S15', 'http://[::127.0.0.1]/'],
  ['S16', 'http://[::ffff:0:127.0.0.1]/'],
  ['S17', 'http://[64:ff9b::7f00:1]/ http://[64:ff9b::a9fe:a9fe]/ http://[64:ff9b:1::7f00:1]/'],
  ['S18', 'http://[2002:7f00:1::]/ http://[2002:a9fe:a9fe::1]/'],
  ['S19', 'http://[2001:0:53aa:64c::1]/ http://[5f00::1]/ http://[100::1]/ http://[3fff::1]/ http://[2001:db8::1]/'],
  ['S21', 'http://[fd00:ec2::254]/ http://[fc00::1]/'],
  ['S22-S24', 'http://169.254.169.254/ http://2852039166/ http://[::ffff:a9fe:a9fe]/'],
  ['S25', 'http://100.100.100.200/ http://192.0.0.192/ http://metadata.google.internal/'],
  ['S26-S29', 'http://10.0.0.1/ http://172.16.0.1/ http://192.168.0.1/ http://100.64.0.1/'],
  [
    'S30',
    'http://198.18.0.1/ http://192.0.2.1/ http://192.88.99.1/ http://224.0.0.1/ http://240.0.0.1/ http://255.255.255.255/',
  ],
  ['S31', 'http://①②⑦.⓪.⓪.①/ http://127。0。0。1/'],
  ['S32', 'http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/ http://LOCALHOST/ http://localhost./ http://a.localhost./'],
  ['S33', 'http://foo@127.0.0.1/ http://example.com@127.0.0.1/ http://1.1.1.1&@127.0.0.1/'],
  ['S34', 'http://127.0.0.1#@example.com/'],
  ['S35', 'http:127.0.0.1/ http:\\\\127.0.0.1/ http:/127.0.0.1'],
  ['S38', 'http://unix:/var/run/docker.sock:/x'],
  ['S39', 'http://example.com:0/ http://example.com:25/ https://example.com:22/ http://1.1.1.1:6379/'],
];

test('S1-S39: every spelling of what is closed is refused, however it is resolved', async (t) => {
  const guard = addressGuard({ isAllowed: () => false, resolve: () => Promise.resolve([address('1.1.1.1')]) });
  for (const [row, urls] of closed) {
    await t.test(row, async () => {
      for (const url of urls.split(' '))
        await assert.rejects(guard.check(url), { code: 'target-forbidden', status: 422 }, url);
    });
  }
  await t.test('S20, S36, S37, S39: what the parser itself refuses, or reads as another host', () => {
    for (const url of [
      'http://[fe80::1%25eth0]/',
      'http://127.0.0.1%2f.example.com/',
      'http://%00/',
      'http://a:99999/',
    ])
      assert.equal(URL.canParse(url), false, url);
  });
  await t.test('S34, S40: what only looks odd, and other letters', async () => {
    for (const url of [
      'http://example.com\\@127.0.0.1/',
      'http://faß.de/',
      'https://xn--fa-hia.de',
      'http://1.1.1.1./',
    ])
      await guard.check(url);
  });
  await t.test('S45: a range that is allowed opens no other, nor any port', async () => {
    const one = addressGuard({
      isAllowed: (text) => text === '10.0.0.1',
      resolve: (name) =>
        Promise.resolve([address(name === 'both.example' ? '10.0.0.2' : '10.0.0.1'), address('10.0.0.1')]),
    });
    for (const url of ['http://10.0.0.1/', 'http://[::ffff:10.0.0.1]:8080/', 'http://one.example/'])
      await one.check(url);
    for (const url of ['http://10.0.0.2/', 'http://127.0.0.1/', 'http://both.example/', 'http://10.0.0.1:6379/'])
      await assert.rejects(one.check(url), { code: 'target-forbidden' }, url);
  });
});

test('a callback is refused in its own words, and so that nothing was accepted', async () => {
  const guard = addressGuard({ isAllowed: () => false, resolve: () => Promise.resolve([]) });
  for (const [url, words] of [
    ['http://10.0.0.1/', /^the host of Callback-Url is not found, is not public, or is this server itself; /],
    ['http://unknown.example/', /^the host of Callback-Url is not found/],
    ['http://1.1.1.1:25/', /^the port of Callback-Url is not one for HTTP; take 80/],
  ] as const)
    await assert.rejects(guard.check(url, 'callback'), {
      code: 'callback-url-forbidden',
      status: 422,
      message: words,
      members: { accepted: false },
    });
});

test('S39: ports are those of HTTP, and above 1023 those that no other protocol is known for', () => {
  for (const port of [80, 443, 1024, 3000, 7878, 8000, 8080, 8443, 9000, 65_535])
    assert.equal(isOpenPort(port), true, `${port}`);
  for (const port of [
    0, 1, 21, 22, 23, 25, 53, 81, 110, 143, 389, 445, 587, 993, 1023, 2375, 3306, 5432, 6379, 11_211, 27_017,
  ])
    assert.equal(isOpenPort(port), false, `${port}`);
});

test('S44: where the server itself is nobody is led, by whatever name', async () => {
  const guard = addressGuard({
    isAllowed: () => true,
    isOwn: (host, port) => port === 7878 && (host === '127.0.0.1' || host === 'jobs.example.com'),
    resolve: () => Promise.resolve([address('127.0.0.1')]),
  });
  for (const url of [
    'http://127.1:7878/',
    'http://[::ffff:7f00:1]:7878/',
    'http://jobs.example.com.:7878/',
    'http://alias.example:7878/',
  ])
    await assert.rejects(guard.check(url), { code: 'target-forbidden' }, url);
  for (const url of ['http://127.0.0.1:7879/', 'http://127.0.0.2:7878/', 'http://jobs.example.com/'])
    await guard.check(url);
  assert.equal(guard.fits('http://127.0.0.1:7878/'), false);
});

test('every reason that shows only by looking has one text', async () => {
  const answers: Record<string, () => Promise<LookupAddress[]>> = {
    'private.example': () => Promise.resolve([address('10.0.0.1')]),
    'nothing.example': () => Promise.resolve([]),
    'unknown.example': () => Promise.reject(Object.assign(new Error('ENOTFOUND'), { code: 'ENOTFOUND' })),
    'silent.example': () => Promise.reject(new Error('the lookup took too long')),
    'own.example': () => Promise.resolve([address('1.1.1.1')]),
  };
  const guard = addressGuard({
    isAllowed: () => false,
    isOwn: (host) => host === '1.1.1.1',
    resolve: (name) => answers[name]!(),
  });
  const texts = new Set<string>();
  for (const host of [...Object.keys(answers), '10.0.0.1', '1.1.1.1'])
    await assert.rejects(guard.check(`http://${host}/`), (error: WaitlessError) => {
      texts.add(JSON.stringify([error.code, error.status, error.message, error.members]));
      return true;
    });
  assert.equal(texts.size, 1);
});
