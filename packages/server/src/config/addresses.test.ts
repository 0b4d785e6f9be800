// Which addresses are the server itself: where it listens, where it is known, and every one of the machine where it listens on all.
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { ownMatcher } from './addresses.ts';

test('a listener on one address is that address and port alone', () => {
  for (const [listening, host] of [
    ['http://127.0.0.1:7878', '127.0.0.1'],
    ['http://[::1]:7878', '::1'],
    ['http://10.0.0.11:7878', '10.0.0.11'],
  ] as const) {
    const isOwn = ownMatcher({ listening: () => listening, known: [undefined] });
    assert.equal(isOwn(host, 7878), true);
    assert.equal(isOwn(host, 7879), false);
    for (const other of ['127.0.0.2', '0.0.0.0', 'localhost', 'example.com']) assert.equal(isOwn(other, 7878), false);
  }
});

test('a listener on all addresses is each of the machine, of both families, and no other', () => {
  for (const listening of ['http://0.0.0.0:7878', 'http://[::]:7878']) {
    const isOwn = ownMatcher({ listening: () => listening, known: [] });
    const own = Object.values(networkInterfaces()).flatMap((all) => all!.map(({ address }) => address));
    for (const host of ['127.0.0.1', '127.1.2.3', '::1', '0.0.0.0', '::', ...own]) {
      assert.equal(isOwn(host, 7878), true, host);
      assert.equal(isOwn(host, 80), false, host);
    }
    for (const host of ['1.1.1.1', '2606:4700::1111', 'example.com']) assert.equal(isOwn(host, 7878), false, host);
  }
});

test('the public URL and that for backends count with their own ports, and before it listens nothing else does', () => {
  const isOwn = ownMatcher({
    listening: () => '',
    known: ['https://Jobs.example.com', 'http://inside:8080', 'https://api.example.com/jobs'],
  });
  assert.equal(isOwn('jobs.example.com', 443), true);
  assert.equal(isOwn('jobs.example.com', 443, '/v1/call/score'), true);
  assert.equal(isOwn('inside', 8080), true);
  for (const path of ['/jobs', '/jobs/', '/jobs/v1/call/x'])
    assert.equal(isOwn('api.example.com', 443, path), true, path);
  for (const path of ['/', '/jobsuite', '/score', undefined])
    assert.equal(isOwn('api.example.com', 443, path), false, 'another path of the same gateway');
  for (const [host, port] of [
    ['jobs.example.com', 80],
    ['inside', 80],
    ['127.0.0.1', 7878],
  ] as const)
    assert.equal(isOwn(host, port), false);
});
