// Callback URLs: kept in one spelling, refused where a person and a parser read them differently, and looked up no more than there is a need for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallbackPlaces, readCallbackUrl } from './callback-url.ts';

/** As the bytes of a header arrive. */
const wire = (text: string): string => Buffer.from(text).toString('latin1');

test('a URL is kept in one spelling, without a fragment; its outlet has no query', () => {
  for (const [text, url, outlet = url] of [
    ['https://example.com/done', 'https://example.com/done'],
    ['HTTPS://Example.COM:443', 'https://example.com/'],
    [' http://example.com/a b ', 'http://example.com/a%20b'],
    ['https://example.com/done?order=1&a=b#here', 'https://example.com/done?order=1&a=b', 'https://example.com/done'],
    ['https://example.com/../a?', 'https://example.com/a?', 'https://example.com/a'],
    ['http:example.com/', 'http://example.com/'],
    ['http:\\\\example.com\\x', 'http://example.com/x'],
    ['http://example.com\\@127.0.0.1/', 'http://example.com/@127.0.0.1/'],
    ['http://127.1/', 'http://127.0.0.1/'],
    ['http://①②⑦.⓪.⓪.①/', 'http://127.0.0.1/'],
    ['https://faß.de/x', 'https://xn--fa-hia.de/x'],
  ] as const)
    assert.deepEqual(readCallbackUrl(wire(text)), { url, outlet }, text);
});

test('what cannot be read, or is read in two ways, is refused by name and nothing is accepted', () => {
  for (const [text, status, code] of [
    ['', 400, 'invalid-url'],
    ['example.com/done', 400, 'invalid-url'],
    ['/done', 400, 'invalid-url'],
    ['http://', 400, 'invalid-url'],
    ['http://exa\tmple.com/', 400, 'invalid-url'],
    ['http://example.com/\x7f', 400, 'invalid-url'],
    ['http://a%2eb/', 400, 'invalid-url'],
    ['http://a:99999/', 400, 'invalid-url'],
    ['http://[fe80::1%25eth0]/', 400, 'invalid-url'],
    [`https://example.com/${'a'.repeat(2030)}`, 400, 'invalid-url'],
    [`https://example.com/?${'ä'.repeat(400)}`, 400, 'invalid-url'],
    ['ftp://example.com/', 422, 'unsupported-scheme'],
    ['javascript:alert(1)', 422, 'unsupported-scheme'],
    ['ws://example.com/', 422, 'unsupported-scheme'],
    ['http://user:word@example.com/', 422, 'callback-url-forbidden'],
    ['http://@example.com/', 422, 'callback-url-forbidden'],
    ['http://:@example.com/', 422, 'callback-url-forbidden'],
    ['http:\\\\a@example.com/', 422, 'callback-url-forbidden'],
  ] as const)
    assert.throws(
      () => readCallbackUrl(wire(text)),
      (error: { code: string; status: number; message: string; members: unknown }) => {
        assert.deepEqual([error.code, error.status, error.members], [code, status, { accepted: false }], text);
        assert.match(error.message, /Callback-Url/);
        assert.ok(!error.message.includes('word'), 'a password is not repeated');
        return true;
      },
    );
  assert.throws(() => readCallbackUrl('http://caf\xe9.example/'), { code: 'invalid-url' }, 'bytes that are no UTF-8');
});

/** A guard whose look-ups end when the test says so. */
function guarded() {
  const asked: { url: string; end: (error?: Error) => void }[] = [];
  let time = 0;
  const places = new CallbackPlaces({
    guard: {
      fits: (url) => !url.includes('127.0.0.1'),
      check: (url) =>
        new Promise((resolve, reject) =>
          asked.push({ url, end: (error) => (error ? reject(error) : resolve(undefined)) }),
        ),
    },
    nowMs: () => time,
  });
  return { asked, places, pass: (ms: number) => void (time += ms) };
}

test('those that ask for one host at once share a look-up, and for a while after it there is none', async () => {
  const { asked, places, pass } = guarded();
  const both = [places.judge('http://a.example/1'), places.judge('http://a.example/2')];
  assert.deepEqual(
    asked.map(({ url }) => url),
    ['http://a.example/1'],
  );
  asked[0]!.end();
  for (const one of both) await one;
  assert.equal(places.judge('http://a.example/3'), undefined);
  void places.judge('https://a.example/');
  assert.equal(asked.length, 2, 'another port is another place');
  pass(10_000);
  void places.judge('http://a.example/4');
  assert.equal(asked.length, 3);
});

test('a refusal is not believed for longer than it takes, and what is refused as it stands is never believed', async () => {
  const { asked, places } = guarded();
  const first = places.judge('http://b.example/');
  asked[0]!.end(new Error('no'));
  await assert.rejects(first!);
  const second = places.judge('http://b.example/');
  asked[1]!.end();
  await second;
  void places.judge('http://127.0.0.1/');
  void places.judge('http://127.0.0.1/');
  assert.equal(asked.length, 4);
});

test('a resolver that hangs gathers no more than a hundred; a batch takes a few of them at a time', async () => {
  const { asked, places } = guarded();
  for (let i = 0; i < 99; i++) void places.judge(`http://h${i}.example/`);
  const batch = places.judgeAll(Array.from({ length: 30 }, (_, i) => `http://batch${i % 15}.example/`));
  assert.equal(asked.length, 100);
  assert.throws(() => places.judge('http://more.example/'), { code: 'overloaded', members: { accepted: false } });
  for (const { end } of asked) end();
  const refused = await batch;
  assert.equal(refused.size, 14, 'one found room, and each of the others is told');
  for (const error of refused.values()) assert.equal((error as { code?: string }).code, 'overloaded');
});

test('a batch whose look-ups take too long is told so of the rest', async () => {
  const { asked, places, pass } = guarded();
  const urls = Array.from({ length: 50 }, (_, i) => `http://h${i}.example/`);
  const batch = places.judgeAll(urls);
  assert.equal(asked.length, 20);
  pass(10_001);
  for (const { end } of asked) end();
  assert.equal((await batch).size, 30);
  assert.equal(asked.length, 20);
});
