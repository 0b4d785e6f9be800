// Who may ask, from which page, by which name: the decisions of the edges' one gate.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { manualClock } from '../lib/clock.ts';
import { Auth, type AuthOptions, type Caller } from './auth.ts';

const caller = (more: Partial<Caller>): Caller => ({
  host: 'localhost:7878',
  origin: undefined,
  authorization: undefined,
  address: () => 'here',
  ...more,
});
const open: AuthOptions = { findOwner: undefined, publicHost: 'q.example', corsOrigins: ['https://app.example'] };
const codeOf = (act: () => unknown): string => {
  try {
    act();
    return 'allowed';
  } catch (error) {
    return error instanceof WaitlessError ? error.code : String(error);
  }
};

describe('without keys', () => {
  const rows: readonly (readonly [host: string, origin: string | undefined, code: string])[] = [
    ['localhost', undefined, 'allowed'],
    ['127.0.0.1:80', undefined, 'allowed'],
    ['[::1]:80', undefined, 'allowed'],
    ['Q.Example:443', undefined, 'allowed'],
    ['', undefined, 'bad-host'],
    ['evil.example', undefined, 'bad-host'],
    ['localhost.evil.example', undefined, 'bad-host'],
    ['[::1', undefined, 'bad-host'],
    ['localhost:7878', 'http://localhost:7878', 'allowed'],
    ['localhost:7878', 'https://app.example', 'allowed'],
    ['localhost:7878', 'http://localhost:1', 'origin-not-allowed'],
    ['localhost:7878', 'null', 'origin-not-allowed'],
    ['localhost:7878', '', 'origin-not-allowed'],
    ['evil.example', 'http://evil.example', 'bad-host'],
  ];
  for (const [host, origin, code] of rows)
    test(`Host ${host}, Origin ${origin}: ${code}`, () =>
      assert.equal(
        codeOf(() => new Auth(open).checkPlace(caller({ host, origin }))),
        code,
      ));
  test('everybody is in the default namespace', () =>
    assert.equal(new Auth(open).namespace(caller({ authorization: 'Bearer whatever' })), 'default'));
});

describe('with keys', () => {
  const keyed = (clock = manualClock(0)) => ({
    clock,
    auth: new Auth({
      ...open,
      findOwner: (field) => (field?.startsWith('good') ? { name: field, namespace: 'alice' } : undefined),
      nowMs: () => clock.now(),
    }),
  });
  test('the place does not matter, the key does', () => {
    const { auth } = keyed();
    auth.checkPlace(caller({ host: 'evil.example', origin: 'http://evil.example' }));
    assert.equal(auth.namespace(caller({ authorization: 'good' })), 'alice');
    assert.equal(
      codeOf(() => auth.namespace(caller({}))),
      'unauthenticated',
    );
    assert.equal(
      codeOf(() => auth.namespace(caller({ authorization: '' }))),
      'unauthenticated',
    );
  });

  test('T46: while an address must wait, a right guess looks like a wrong one; proven keys, other addresses and callers without a key do not wait', () => {
    const { auth, clock } = keyed();
    const ask = (authorization: string | undefined, address = 'here'): string =>
      codeOf(() => auth.namespace(caller({ authorization, address: () => address })));
    assert.equal(ask('good proven'), 'allowed');
    for (let i = 0; i < 21; i++) assert.equal(ask(`bad ${i}`), 'unauthenticated');
    assert.equal(ask('bad 99'), 'rate-limited');
    assert.equal(ask('good guess'), 'rate-limited');
    assert.equal(ask('good proven'), 'allowed');
    assert.equal(ask(undefined), 'unauthenticated');
    assert.equal(ask('good elsewhere', 'there'), 'allowed');
    clock.advance(1000);
    assert.equal(ask('good guess'), 'allowed');
  });

  test('the pause is told in whole seconds', () => {
    const { auth } = keyed();
    for (let i = 0; i < 21; i++) codeOf(() => auth.namespace(caller({ authorization: `bad ${i}` })));
    assert.throws(() => auth.namespace(caller({ authorization: 'bad' })), {
      code: 'rate-limited',
      status: 429,
      retryAfterSeconds: 1,
    });
  });
});
