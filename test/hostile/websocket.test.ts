// The WebSocket under attack: who may open one, bytes that are no frames, frames that are none of ours, floods, and peers that do not read.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorFrame, ServerFrame } from '@waitless/protocol';
import { until } from '../support/http.ts';
import { requestBytes } from '../support/raw-http.ts';
import { frameBytes, handshake, rawWebSocket } from '../support/raw-web-socket.ts';
import { assertProblem, underAttack } from '../support/victim.ts';
import { leaseOne, postJson } from '../support/worker.ts';
import { channelTo } from '../support/web-socket.ts';
import { abruptCloses, waitersReach } from './websocket-run.ts';

const services = { work: { target: { pull: true } } };
const path = '/v1/stream';

type Fields = readonly (readonly [string, string])[];

const without = (name: string): Fields => handshake.filter(([field]) => field !== name);
const instead = (name: string, value: string): Fields => [...without(name), [name, value]];
const framesIn = (texts: readonly string[]): ServerFrame[] =>
  texts.flatMap((text) => JSON.parse(text) as ServerFrame | ServerFrame[]);

test('T22, T49: a handshake that is none, from another page, or without a right to it gets a problem and no 101', async (t) => {
  const settings = { services, namespaces: ['alice'], fields: { corsOrigin: ['https://shop.example'] } };
  await underAttack(t, settings, (victim) =>
    victim.untouchedBy(async () => {
      const operation = (await victim.askAs('alice', { method: 'POST', path: '/v1/call/bystander', body: 'x' })).header(
        'operation-id',
      )!;
      const made = await postJson(victim, '/v1/tokens', JSON.stringify({ operations: [operation] }), 'alice');
      const { token } = made.json<{ token: string }>();
      const refused: [Fields, number, string, string?][] = [
        [[...handshake, ['Origin', 'https://evil.example']], 403, 'origin-not-allowed'],
        [[...handshake, ['Origin', 'null']], 403, 'origin-not-allowed'],
        [[...handshake, ['Origin', 'http://localhost.evil.example']], 403, 'origin-not-allowed'],
        [handshake, 401, 'unauthenticated'],
        [[...handshake, ['Authorization', 'Bearer guess']], 401, 'unauthenticated'],
        [instead('Sec-WebSocket-Protocol', 'waitless.v1, waitless.token.forged.token'), 401, 'invalid-token'],
        [instead('Sec-WebSocket-Protocol', `waitless.v1, waitless.token.${token}x`), 401, 'invalid-token'],
        [handshake, 401, 'invalid-token', `${path}?token=forged`],
        [handshake, 400, 'invalid-parameter', `${path}?token=${token}&token=${token}`],
        [
          [...instead('Sec-WebSocket-Protocol', `waitless.v1, waitless.token.${token}`), ['Authorization', 'Bearer x']],
          400,
          'invalid-parameter',
        ],
        [instead('Sec-WebSocket-Protocol', `waitless.token.${token}`), 400, 'invalid-parameter'],
        [instead('Sec-WebSocket-Protocol', `waitless.v2, waitless.token.${token}`), 400, 'invalid-parameter'],
        [without('Sec-WebSocket-Protocol'), 400, 'invalid-parameter', `${path}?token=${token}`],
        [instead('Sec-WebSocket-Protocol', 'waitless.v1, waitless.v1'), 400, 'invalid-parameter'],
        [instead('Sec-WebSocket-Protocol', 'waitless.v1, a b'), 400, 'invalid-parameter'],
        [instead('Sec-WebSocket-Version', '8'), 400, 'bad-request'],
        [without('Sec-WebSocket-Version'), 400, 'bad-request'],
        [instead('Sec-WebSocket-Key', 'short'), 400, 'bad-request'],
        [without('Sec-WebSocket-Key'), 400, 'bad-request'],
        [[...handshake, ['Content-Length', '5']], 400, 'bad-request'],
        [[...handshake, ['Host', 'other']], 400, 'bad-host'],
      ];
      for (const [headers, status, code, other] of refused)
        assertProblem(await victim.ask({ path: other ?? path, headers }), status, code);
      for (const headers of [
        [...handshake, ['Authorization', `Bearer ${victim.server.key('alice')}`], ['Origin', 'https://shop.example']],
        [...handshake, ['Authorization', `Bearer ${victim.server.key('alice')}`], ['Origin', 'http://localhost']],
        instead('Sec-WebSocket-Protocol', `waitless.token.${token}, waitless.v1`),
      ] as Fields[])
        (await rawWebSocket(victim.port, { headers })).destroy();
    }),
  );
});

test('T11: nothing but a WebSocket at this one path is ever 101, and no answer comes out within another protocol', async (t) => {
  await underAttack(t, { services }, async (victim) => {
    const upgraded: [string, string, Fields][] = [
      ['GET', '/v1/operations', handshake],
      ['GET', '/v1/stream/', handshake],
      ['GET', '/v1//stream', handshake],
      ['GET', '/v1/%73tream', handshake],
      ['POST', path, handshake],
      ['GET', path, instead('Upgrade', 'h2c')],
      ['GET', path, without('Connection')],
      ['GET', path, without('Upgrade')],
    ];
    for (const [method, where, headers] of upgraded) {
      const connection = await victim.open();
      connection.send(requestBytes({ method, path: where, headers: [...headers, ['Connection', 'close']] }));
      const received = await connection.closed();
      assert.doesNotMatch(received.toString('latin1', 0, 12), / 101/, `${method} ${where}`);
      assert.match(received.toString('latin1', 0, 12), /^HTTP\/1\.1 [2-5]/, `${method} ${where}`);
    }
    assertProblem(await victim.ask({ path, headers: handshake, host: 'rebound.example' }), 400, 'bad-host');
    // A request that waits is answered on this connection yet.
    const operation = (await victim.ask({ method: 'POST', path: '/v1/call/work', body: 'x' })).header('operation-id')!;
    const mixed = await victim.open();
    mixed.send(requestBytes({ path: `/v1/operations/${operation}`, headers: [['Prefer', 'wait=30']] }));
    mixed.send(requestBytes({ path, headers: handshake }));
    assert.doesNotMatch((await mixed.closed()).toString('latin1'), / 101 /);
  });
});

test('T50, T51, T52: bytes that break the protocol end the connection with the code for it', async (t) => {
  await underAttack(t, { services }, (victim) =>
    victim.untouchedBy(async () => {
      const attacks: [string, number, Uint8Array[]][] = [
        ['a message that is too large', 1009, [frameBytes('x'.repeat(262_145))]],
        ['a frame that says it is too large', 1009, [frameBytes('x', { length: 2 ** 40 }).subarray(0, 20)]],
        [
          'fragments that are too large together',
          1009,
          [frameBytes('x'.repeat(200_000), { fin: false }), frameBytes('x'.repeat(100_000), { opcode: 0 })],
        ],
        [
          'fragments without end',
          1008,
          [
            frameBytes('{', { fin: false }),
            ...Array.from({ length: 1500 }, () => frameBytes('', { opcode: 0, fin: false })),
          ],
        ],
        ['a compressed frame that nobody agreed on', 1002, [frameBytes('{}', { reserved: 4 })]],
        ['reserved bits', 1002, [frameBytes('{}', { reserved: 1 })]],
        ['an opcode that is none', 1002, [frameBytes('{}', { opcode: 5 })]],
        ['a frame without a mask', 1002, [frameBytes('{}', { masked: false })]],
        ['a control frame that is too large', 1002, [frameBytes('x'.repeat(126), { opcode: 9 })]],
        ['a control frame in pieces', 1002, [frameBytes('x', { opcode: 9, fin: false })]],
        ['a continuation of nothing', 1002, [frameBytes('x', { opcode: 0 })]],
        ['a close code that is none', 1002, [frameBytes(Buffer.from([0x03, 0xed]), { opcode: 8 })]],
        ['text that is no UTF-8', 1007, [frameBytes(Buffer.from([0x22, 0xff, 0x22]))]],
        ['a binary message', 1003, [frameBytes('{"type":"ping"}', { opcode: 2 })]],
      ];
      for (const [what, code, bytes] of attacks) {
        const raw = await rawWebSocket(victim.port);
        raw.sendRaw(Buffer.concat(bytes));
        assert.equal(await raw.closed, code, what);
      }
      // What a browser offers is not taken up, so that no bomb can be packed.
      const headers = [
        ...handshake,
        ['Sec-WebSocket-Extensions', 'permessage-deflate; client_max_window_bits'],
      ] as Fields;
      const plain = await rawWebSocket(victim.port, { headers });
      plain.send('{"type":"ping"}');
      assert.deepEqual(framesIn(await plain.got(1)), [{ type: 'pong' }]);
      plain.destroy();
    }),
  );
});

test('frames that are none get an error that names what is wrong, and the connection goes on', async (t) => {
  await underAttack(t, { services }, (victim) =>
    victim.untouchedBy(async () => {
      const raw = await rawWebSocket(victim.port);
      const deep = `${'['.repeat(100)}${']'.repeat(100)}`;
      const broken: [string, string, RegExp][] = [
        ['{', 'invalid-json', /JSON/],
        ['', 'invalid-json', /JSON/],
        ['5', 'invalid-parameter', /object/],
        ['[5]', 'invalid-parameter', /^\/0 /],
        ['{"type":"ping"} {}', 'invalid-json', /after the message/],
        ['{"type":"ping","type":"ping"}', 'invalid-json', /twice/],
        ['{"__proto__":{"x":1},"type":"ping"}', 'forbidden-key', /__proto__/],
        ['{"type":"submit","service":"work","headers":{"__proto__":"x"}}', 'forbidden-key', /__proto__/],
        [`{"type":"watch","operations":${deep}}`, 'payload-too-complex', /deep/],
        [`[${'{"type":"pong"},'.repeat(1000)}{"type":"ping"}]`, 'payload-too-large', /1000/],
        ['{"ref":"r"}', 'invalid-parameter', /type/],
        ['{"type":"fly","ref":"r"}', 'invalid-parameter', /"fly" is not known/],
        ['{"type":"ping","ref":5}', 'invalid-parameter', /ref/],
        [`{"type":"ping","ref":"${'r'.repeat(129)}"}`, 'invalid-parameter', /ref/],
        ['{"type":"ping","state":"done"}', 'unknown-field', /state/],
        ['{"type":"submit"}', 'invalid-parameter', /service is missing/],
        ['{"type":"submit","service":"../x"}', 'invalid-name', /service/],
        ['{"type":"submit","service":"work","method":"get it"}', 'invalid-parameter', /method/],
        ['{"type":"submit","service":"work","path":"../x"}', 'invalid-parameter', /path/],
        ['{"type":"submit","service":"work","path":"/a/../b"}', 'bad-path', /./],
        ['{"type":"submit","service":"work","query":"a b"}', 'invalid-parameter', /query/],
        ['{"type":"submit","service":"work","headers":"x"}', 'invalid-parameter', /headers/],
        ['{"type":"submit","service":"work","headers":{"a\\r\\nb":"x"}}', 'invalid-parameter', /headers/],
        ['{"type":"submit","service":"work","headers":{"Idempotency-Key":""}}', 'idempotency-key-invalid', /./],
        ['{"type":"submit","service":"work","headers":{"Accept":"text/event-stream"}}', 'invalid-parameter', /watch/],
        ['{"type":"submit","service":"work","body":1,"bodyBase64":""}', 'invalid-parameter', /both/],
        ['{"type":"submit","service":"work","bodyBase64":"?"}', 'invalid-parameter', /base64/],
        ['{"type":"submit","service":"work","watch":true}', 'invalid-parameter', /watch/],
        ['{"type":"submit","service":"work","include":"all"}', 'invalid-parameter', /include/],
        ['{"type":"submit","service":"work","id":"mine","attempt":7}', 'unknown-field', /id/],
        [
          '{"type":"submit","service":"work","watch":"end","headers":{"Operation-Durability":"none"}}',
          'conflicting-headers',
          /watch/,
        ],
        ['{"type":"watch"}', 'invalid-parameter', /operations/],
        ['{"type":"watch","operations":[5]}', 'invalid-parameter', /operations\/0/],
        ['{"type":"watch","operations":["x"],"after":{"y":"z"}}', 'invalid-parameter', /after\/y/],
        ['{"type":"watch","topics":[]}', 'invalid-parameter', /topics/],
        ['{"type":"watch","topics":["x"],"operations":["x"]}', 'unknown-field', /topics/],
        ['{"type":"watch","topics":["x..y"]}', 'invalid-name', /topics/],
        ['{"type":"watch","topics":["x"],"after":-1}', 'invalid-parameter', /after/],
        ['{"type":"watch","topics":["x"],"filter":{"regex":{"a":"(a+)+$"}}}', 'invalid-filter', /filter/],
        ['{"type":"unwatch","topics":[1]}', 'invalid-parameter', /topics\/0/],
        ['{"type":"publish","topic":"x","event":{}}', 'invalid-cloudevent', /specversion/],
        ['{"type":"publish","topic":"x"}', 'invalid-parameter', /event/],
        ['{"type":"publish","topic":"x","event":{},"events":[]}', 'invalid-parameter', /event/],
        ['{"type":"publish","topic":"operations.x","events":[]}', 'reserved-topic', /operations/],
        ['{"type":"publish","topic":"../etc","events":[]}', 'invalid-name', /topic/],
        ['{"type":"work","service":"work"}', 'invalid-parameter', /credits/],
        ['{"type":"work","service":"work","credits":1001}', 'invalid-parameter', /credits/],
        ['{"type":"work","service":"work","credits":-1}', 'invalid-parameter', /credits/],
        ['{"type":"work","subscription":"s","credits":1}', 'unknown-subscription', /"s"/],
        ['{"type":"work","credits":1}', 'invalid-parameter', /one of service and subscription/],
        ['{"type":"work","service":"work","subscription":"s","credits":1}', 'invalid-parameter', /one of service/],
        ['{"type":"work","subscription":5,"credits":1}', 'invalid-parameter', /subscription/],
        ['{"type":"work","subscription":"../s","credits":1}', 'invalid-name', /subscription/],
        ['{"type":"work","subscription":"s"}', 'invalid-parameter', /credits/],
        ['{"type":"work","subscription":"s","credits":1001}', 'invalid-parameter', /credits/],
        ['{"type":"work","subscription":"s","credits":1,"leaseSeconds":0}', 'invalid-parameter', /leaseSeconds/],
        ['{"type":"work","subscription":"s","credits":1,"worker":"a b"}', 'invalid-name', /worker/],
        ['{"type":"ack"}', 'invalid-parameter', /token/],
        ['{"type":"ack","token":5}', 'invalid-parameter', /token/],
        ['{"type":"ack","token":"x","message":"y"}', 'unknown-field', /message/],
        ['{"type":"ack","token":"ev-1-1-1-1-aaaaaaaaaaaaaaaaaaaaaaaaaaa"}', 'not-found', /token/],
        ['{"type":"nack","token":"x","retryAfter":"soon"}', 'invalid-parameter', /retryAfter/],
        ['{"type":"nack","token":"x","message":{"a":1}}', 'invalid-parameter', /message/],
        ['{"type":"work","service":"nobody","credits":1}', 'unknown-service', /nobody/],
        ['{"type":"reply","body":"x"}', 'invalid-parameter', /token/],
        ['{"type":"reply","token":"x","status":202}', 'invalid-parameter', /202/],
        ['{"type":"reply","token":"x","headers":{"a":5}}', 'invalid-parameter', /headers/],
        ['{"type":"fail","token":"x","code":"c"}', 'invalid-parameter', /message/],
        ['{"type":"progress","token":"x","percent":101}', 'invalid-parameter', /percent/],
        ['{"type":"reply","token":"none","body":"x"}', 'not-found', /token/],
        ['{"type":"extend","token":"x"}', 'not-found', /token/],
        ['{"type":"cancel","id":"x"}', 'not-found', /operation/],
      ];
      for (const [text, code, words] of broken) {
        // Few enough for one connection to be believed.
        const one = await rawWebSocket(victim.port);
        one.send(text);
        const [frame] = framesIn(await one.got(1)) as ErrorFrame[];
        assert.deepEqual([frame?.type, frame?.problem.code], ['error', code], text.slice(0, 100));
        assert.match(frame!.problem.detail ?? '', words, text.slice(0, 100));
        one.send('{"type":"ping","ref":"alive"}');
        assert.deepEqual(framesIn(await one.got(2)).at(-1), { type: 'pong', ref: 'alive' }, text.slice(0, 100));
        one.destroy();
      }
      // One that is wrong spoils no other of its message.
      raw.send('[{"type":"fly","ref":"1"},{"type":"ping","ref":"2"},7,{"type":"ping","ref":"3"}]');
      const frames = framesIn(await raw.got(1));
      assert.deepEqual(
        frames.map(({ type, ref }) => [type, ref]),
        [
          ['error', '1'],
          ['pong', '2'],
          ['error', undefined],
          ['pong', '3'],
        ],
      );
      raw.destroy();
    }),
  );
});

test('T53: floods of pings, of frames that are none and of replies to nothing end the connection with 1008', async (t) => {
  await underAttack(t, { services }, (victim) =>
    victim.untouchedBy(async () => {
      const floods: [string, () => Buffer][] = [
        ['pings', () => frameBytes('x', { opcode: 9 })],
        ['ping frames', () => frameBytes('{"type":"ping"}')],
        ['an array of pings', () => frameBytes(`[${'{"type":"ping"},'.repeat(999)}{"type":"ping"}]`)],
        ['unknown types', () => frameBytes('{"type":"fly"}')],
        ['no JSON', () => frameBytes('{')],
        ['submits that are none', () => frameBytes('{"type":"submit","service":5}')],
      ];
      for (const [what, one] of floods) {
        const raw = await rawWebSocket(victim.port);
        raw.socket.on('error', () => {});
        for (let i = 0; i < 300; i++) raw.sendRaw(one());
        assert.equal(await raw.closed, 1008, what);
      }
      // Work that is asked for in numbers is work: no rate is set for it.
      const busy = await rawWebSocket(victim.port);
      busy.send(
        `[${Array.from({ length: 900 }, (_, i) => `{"type":"unwatch","ref":"${i}","operations":["x"]}`).join(',')}]`,
      );
      await until(() => (framesIn(busy.texts).length === 900 ? true : undefined));
      busy.destroy();
    }),
  );
});

test("T40, T57: another tenant's operations, leases and events are as unknown as those that nobody has", async (t) => {
  await underAttack(t, { services, namespaces: ['mine', 'theirs'] }, async (victim) => {
    const theirs = await leaseOne(victim, 'work', { namespace: 'theirs' });
    await victim.untouchedBy(async () => {
      const channel = await channelTo(t, victim.server.url, { key: victim.server.key('mine') });
      const { id } = theirs.operation;
      const unknown = `${'0'.repeat(32)}001`;
      const told = new Set<string>();
      for (const operation of [id, unknown]) {
        channel.send({ type: 'watch', ref: operation, operations: [operation], after: { [operation]: `${id}_1` } });
        const { problem } = await channel.frame('error', ({ ref }) => ref === operation);
        told.add(`${problem.code} ${problem.detail}`);
        const cancelled = await channel.ask({ type: 'cancel', id: operation });
        assert.ok(cancelled.type === 'error');
        told.add(`${cancelled.problem.code} ${cancelled.problem.detail}`);
      }
      assert.equal(told.size, 1, [...told].join('\n'));
      for (const type of ['reply', 'release', 'extend', 'progress'] as const) {
        const answer = await channel.ask({ type, token: theirs.token });
        assert.ok(answer.type === 'error');
        assert.deepEqual([type, answer.problem.code], [type, 'not-found']);
      }
      channel.ws.terminate();
    });
  });
});

test('whoever tries one token after the other over a socket is slowed down as over HTTP', async (t) => {
  await underAttack(t, { services }, async (victim) => {
    const raw = await rawWebSocket(victim.port);
    const guesses = Array.from({ length: 1010 }, (_, i) => `{"type":"extend","token":"guess-${i}"}`);
    raw.send(`[${guesses.slice(0, 505).join(',')}]`);
    raw.send(`[${guesses.slice(505).join(',')}]`);
    await until(() => (framesIn(raw.texts).length === guesses.length ? true : undefined));
    const codes = framesIn(raw.texts).map((frame) => (frame as ErrorFrame).problem.code);
    assert.ok(codes.includes('not-found') && codes.at(-1) === 'rate-limited', codes.at(-1));
    assert.ok(framesIn(raw.texts).some((frame) => (frame as ErrorFrame).retryAfter! > 0));
    // The same limit holds for both ways, and what is known is answered all the same.
    assertProblem(await victim.ask({ path: `/v1/operations/${'0'.repeat(32)}001` }), 429, 'rate-limited');
    raw.destroy();
  });
});

test('T54: sockets count as those who wait, and the next one beyond the limit gets 429', async (t) => {
  await underAttack(t, { services, fields: { maxWaiters: 2 } }, async (victim) => {
    const open = [await rawWebSocket(victim.port), await rawWebSocket(victim.port)];
    await waitersReach(victim, 2);
    assertProblem(await victim.ask({ path, headers: handshake }), 429, 'too-many-connections');
    open[0]!.destroy();
    await waitersReach(victim, 1);
    open.push(await rawWebSocket(victim.port));
    for (const raw of open) raw.destroy();
  });
});

test('T55: a peer that never reads is closed, others are told everything meanwhile, and nothing is held for it', async (t) => {
  await underAttack(t, { services }, async (victim) => {
    const { token, operation } = await leaseOne(victim, 'work');
    const watch = JSON.stringify({ type: 'watch', ref: 'w', operations: [operation.id] });
    const slow = await rawWebSocket(victim.port, { paused: true });
    slow.send(watch);
    const good = await rawWebSocket(victim.port);
    good.send(watch);
    await good.got(2);
    await waitersReach(victim, 2);
    const data = 'x'.repeat(15_000);
    // More than the kernel takes for a connection, and what the server keeps for it.
    let posted = 0;
    let waits = true;
    while (waits && posted < 2000) {
      await postJson(victim, `/v1/leases/${token}/progress`, JSON.stringify({ data }));
      if (++posted % 100 === 0) waits = !/^waitless_waiters 1$/m.test((await victim.ask({ path: '/metrics' })).text);
    }
    await waitersReach(victim, 1);
    // Accepted, begun, and the progress.
    const all = posted + 2;
    const told = (): ServerFrame[] => framesIn(good.texts).filter(({ type }) => type === 'event');
    await until(() => (told().length === all ? true : undefined), 50);
    const versions = told().flatMap((frame) => (frame.type === 'event' ? frame.event.version : []));
    assert.deepEqual(
      versions,
      Array.from({ length: all }, (_, i) => i + 1),
    );
    slow.socket.resume();
    assert.ok([1013, 1006].includes(await slow.closed));
    good.destroy();
  });
});

test('a peer that asks without end and never reads is not read from any more', async (t) => {
  await underAttack(t, { services }, async (victim) => {
    const raw = await rawWebSocket(victim.port, { paused: true });
    raw.socket.on('error', () => {});
    const ask = frameBytes(
      `[${Array.from({ length: 500 }, () => '{"type":"unwatch","ref":"r","operations":["x"]}').join(',')}]`,
    );
    let sent = 0;
    let stuck = false;
    for (; sent < 20_000 && !stuck; sent++) {
      if (!raw.socket.write(ask)) {
        stuck = await Promise.race([
          new Promise<boolean>((resolve) => raw.socket.once('drain', () => resolve(false))),
          new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 1000)),
        ]);
      }
    }
    assert.ok(stuck, `${sent} messages were taken`);
    raw.destroy();
    await waitersReach(victim, 0);
  });
});

test('T55: 500 sockets that are cut off leave nothing behind', (t) => abruptCloses(t, 500));
