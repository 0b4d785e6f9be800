// Consumers on a WebSocket that mean harm: leases and subscriptions of others, tokens without end, and peers that take events and never read.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorFrame } from '@waitless/protocol';
import { until } from '../support/http.ts';
import { rawWebSocket } from '../support/raw-web-socket.ts';
import { type EventLease, putSubscription, subscriptionAt } from '../support/subscribers.ts';
import { batched, cloudEvent, publish } from '../support/topics.ts';
import { underAttack, type Victim } from '../support/victim.ts';
import { channelTo } from '../support/web-socket.ts';
import { postJson } from '../support/worker.ts';
import { waitersReach } from './websocket-run.ts';

const target = { pull: true };

test("another tenant's subscriptions and leases of events are as unknown as those that nobody has", async (t) => {
  await underAttack(t, { namespaces: ['mine', 'theirs'] }, async (victim) => {
    const key = victim.server.key('theirs');
    const asThem = (path: string, method: string, body: unknown): ReturnType<Victim['askAs']> =>
      victim.askAs('theirs', {
        method,
        path,
        headers: [['Content-Type', 'application/json']],
        body: JSON.stringify(body),
      });
    assert.equal((await asThem('/v1/subscriptions/s', 'PUT', { topic: 'a', target })).status, 201);
    assert.equal((await asThem('/v1/topics/a/events', 'POST', { secret: 1 })).status, 202);
    const answer = await asThem('/v1/subscriptions/s/leases', 'POST', { waitSeconds: 10, leaseSeconds: 600 });
    const { token } = answer.json<{ leases: EventLease[] }>().leases[0]!;
    const channel = await channelTo(t, victim.server.url, { key: victim.server.key('mine') });
    const told = new Set<string>();
    for (const name of ['s', 'nobody-has-it']) {
      const { problem } = (await channel.ask({ type: 'work', subscription: name, credits: 1 })) as ErrorFrame;
      told.add(`${problem.code} ${problem.detail?.replace(JSON.stringify(name), 'NAME')}`);
    }
    assert.equal(told.size, 1, [...told].join('\n'));
    const forged = `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`;
    for (const type of ['ack', 'nack', 'release', 'extend'] as const) {
      const refused = await Promise.all([token, forged].map((one) => channel.ask({ type, token: one })));
      const said = refused.map((frame) => (frame as ErrorFrame).problem);
      assert.deepEqual(
        said.map(({ code, detail }) => [type, code, detail]),
        said.map(() => [type, 'not-found', said[0]!.detail]),
      );
    }
    assert.equal((await subscriptionAt(victim.server.url, 's', { key })).open.sending, 1, 'nothing of it was touched');
    channel.ws.terminate();
  });
});

test('T55: a consumer that never reads is sent no more than it may leave unread, and all of it comes back when it is gone', async (t) => {
  await underAttack(t, {}, async (victim) => {
    const { url } = victim.server;
    const names = Array.from({ length: 30 }, (_, i) => `s${i}`);
    for (const name of names) await putSubscription(url, name, { topic: 'a', target, lease: '1h' });
    const data = 'x'.repeat(250_000);
    const body = `[${Array.from({ length: 12 }, (_, i) => cloudEvent(String(i), { data })).join()}]`;
    await publish(url, 'a', { headers: batched, body });

    const slow = await rawWebSocket(victim.port, { paused: true });
    slow.socket.on('error', () => {});
    slow.send(JSON.stringify(names.map((subscription) => ({ type: 'work', subscription, credits: 1000 }))));
    const out = async (): Promise<number> => {
      const seen = await Promise.all(names.map((name) => subscriptionAt(url, name)));
      return seen.reduce((sum, { open }) => sum + open.sending, 0);
    };
    const released = async (): Promise<number> => {
      const { text } = await victim.ask({ path: '/metrics' });
      return Number(/outcome="released"[^\n]* (\d+)$/m.exec(text)?.[1] ?? 0);
    };
    // Of each three megabytes: what one has too many is given back, and not asked for again.
    await until(async () => ((await released()) + (await out()) >= 30 * 12 ? true : undefined), 20);
    const held = await out();
    assert.ok(held > 0 && held < 30 * 6, `${held} of 360 were sent to somebody who does not read`);

    slow.destroy();
    await until(async () => ((await out()) === 0 ? true : undefined), 20);
    await waitersReach(victim, 0);
  });
});

test('who answers what it held of a removed subscription is told so each time, and only who tries tokens that are none is slowed down', async (t) => {
  await underAttack(t, {}, async (victim) => {
    const { url } = victim.server;
    await putSubscription(url, 's', { topic: 'a', target });
    const body = `[${Array.from({ length: 200 }, (_, i) => cloudEvent(String(i))).join()}]`;
    await publish(url, 'a', { headers: batched, body });
    const channel = await channelTo(t, url);
    channel.send({ type: 'work', subscription: 's', credits: 1000 });
    const held = await until(() => (channel.all('lease').length === 200 ? channel.all('lease') : undefined));
    await victim.ask({ method: 'DELETE', path: '/v1/subscriptions/s' });
    channel.send(...held.map(({ token }) => ({ type: 'ack', token }) as const));
    const told = await until(() => {
      const errors = channel.all('error').filter(({ token }) => token !== undefined);
      return errors.length === 200 ? errors : undefined;
    });
    assert.ok(told.every(({ problem }) => problem.code === 'not-found'));
    const guesses = Array.from({ length: 1010 }, (_, i) => ({ type: 'ack', token: `guess-${i}` }) as const);
    channel.send(...guesses.slice(0, 900));
    channel.send(...guesses.slice(900));
    const early = await channel.frame('error', ({ token }) => token === 'guess-900');
    assert.equal(early.problem.code, 'not-found', 'what was held does not count');
    const last = await channel.frame('error', ({ token }) => token === 'guess-1009');
    assert.equal(last.problem.code, 'rate-limited');
    assert.equal((await postJson(victim, '/v1/leases/guess/ack', '{}')).status, 429);
    channel.ws.terminate();
  });
});
