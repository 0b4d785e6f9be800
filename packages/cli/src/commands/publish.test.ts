// `waitless publish`: what goes over the wire for an event and for a file of them, and what a person and a script are told.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeServer, run, type Seen, sendJson, sendProblem } from '../support.test.ts';

type Event = Record<string, unknown>;
const eventsOf = ({ body }: Seen): Event[] => JSON.parse(body.toString()) as Event[];
const answer = (seen: Seen) => ({
  ids: eventsOf(seen).map(({ id }) => id),
  positions: eventsOf(seen).map((_, at) => at + 1),
});

test('an event: its data with a type that is found out, its attributes, its id for a script', async (t) => {
  const { env, seen } = await fakeServer(t, (one, response) => {
    sendJson(response, 202, one.headers['operation-durability'] === 'none' ? undefined : answer(one));
  });
  const words = ['publish', 'orders.placed', '-d', '{"n": 1e999}', '--type', 'order.placed', '--subject', '17'];
  const one = await run([...words, '--key', 'alice', '--attribute', 'tenant=a=b', '--id', 'own'], { env });
  assert.deepEqual([one.code, one.stdout, one.stderr], [0, 'own\n', '']);
  assert.equal(seen[0]!.path, '/v1/topics/orders.placed/events');
  assert.match(seen[0]!.body.toString(), /"data":\{"n": 1e999\}/, 'as it was typed');
  const { type, subject, partitionkey, tenant, datacontenttype } = eventsOf(seen[0]!)[0]!;
  assert.deepEqual(
    [type, subject, partitionkey, tenant, datacontenttype],
    ['order.placed', '17', 'alice', 'a=b', 'application/json'],
  );
  const person = await run(['publish', 'orders', '-d', '-'], {
    env: { ...env, NO_COLOR: '1' },
    stdin: Buffer.from([0xff, 0]),
    tty: true,
  });
  assert.equal(person.code, 0);
  assert.match(person.stderr, /Stored at position 1\.\n.*npx waitless tail orders --from 0 --limit 1/s);
  assert.equal(eventsOf(seen[1]!)[0]!['data_base64'], '/wA=');
  const json = await run(['publish', 'orders', '--durability', 'none', '--json', '--id', 'x'], { env });
  assert.equal(json.stdout, '{"id":"x","repeated":false}\n');
});

test('a file: a line for each event, CloudEvents as they are, in parts that a server takes', async (t) => {
  const { env, seen } = await fakeServer(t, (one, response) => sendJson(response, 202, answer(one)));
  const folder = await mkdtemp(join(tmpdir(), 'waitless-publish-'));
  t.after(() => rm(folder, { recursive: true }));
  const whole = '{"specversion":"1.0","id":"w","source":"s","type":"t","data":9007199254740993}';
  const lines = [...Array.from({ length: 1200 }, (_, n) => `{"n":${n}}`), '', whole];
  await writeFile(`${folder}/orders.ndjson`, lines.join('\r\n'));
  const many = await run(['publish', 'orders', '--batch', 'orders.ndjson', '--type', 'x'], {
    env,
    cwd: folder,
    tty: true,
  });
  assert.deepEqual([many.code, many.stdout], [0, '']);
  assert.match(many.stderr, /Published 1201 events; the last one stands at position 201\./);
  assert.deepEqual(seen.map((one) => eventsOf(one).length), [1000, 201]); // prettier-ignore
  assert.deepEqual([eventsOf(seen[1]!)[0]!['data'], eventsOf(seen[1]!)[0]!['type']], [{ n: 1000 }, 'x']);
  assert.ok(seen[1]!.body.toString().endsWith(`,${whole}]`));
  const piped = await run(['publish', 'orders', '--batch', '-'], { env, stdin: `1\n${whole}\n` });
  assert.match(piped.stdout, /^[0-9a-f]{32}\nw\n$/);
});

test('what is wrong is said before anything is sent, and how far a file came', async (t) => {
  const { env, seen } = await fakeServer(t, (one, response) => {
    if (seen.length === 1) sendJson(response, 202, answer(one));
    else sendProblem(response, 400, 'invalid-cloudevent', 'the batch has no sense');
  });
  for (const [words, stdin, wrong] of [
    [['orders', '--batch', '-'], '1\n{\n', /line 2 is not JSON: \{/],
    [['orders', '--batch', '-'], '\n', /there is no line in it/],
    [['orders', '--batch', '-', '-d', 'x'], '1', /--data is for one event/],
    [['orders', '--batch', 'missing'], '', /--batch: there is no file/],
    [['orders', '--attribute', 'Bad=1'], '', /lower-case letters and digits/],
    [['a/b'], '', /"a\/b" is not a topic/],
    [['orders', '--durability', 'best'], '', /stored, memory, none/],
  ] as const) {
    const { code, stderr } = await run(['publish', ...words], { env, stdin });
    assert.equal(code, 2, stderr);
    assert.match(stderr, wrong);
  }
  assert.equal(seen.length, 0);
  const stdin = `${Array.from({ length: 1001 }, (_, n) => n).join('\n')}\n`;
  const { code, stderr } = await run(['publish', 'orders', '--batch', '-'], { env, stdin });
  assert.equal(code, 1);
  assert.match(stderr, /lines 1001 to 1001: the batch has no sense\. The 1000 events before them are published\./);
});
