// `waitless tail` and `waitless consume`: lines for people and scripts, and what becomes of the events.
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { fakeServer, run, sendJson, sendProblem } from '../support.test.ts';

const eventOf = (position: number, data: string, more = ''): string =>
  `{"specversion":"1.0","id":"e${position}","source":"s","type":"order.placed"${more},"data":${data}}`;
const itemOf = (position: number, data: string, more = ''): string =>
  `{"position":${position},"topic":"orders","event":${eventOf(position, data, more)}}`;
const tell = (response: ServerResponse, position: number, data: string, more = ''): void => {
  if (!response.headersSent) response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  const fields = `topic: orders\nposition: ${position}\nevent: event`;
  response.write(`id: ${position}-h\n${fields}\ndata: ${eventOf(position, data, more)}\n\n`);
};

test('tail: one line an event, as much as fits for a person, all of it for a script, until the limit', async (t) => {
  const { env, seen } = await fakeServer(t, (_, response) => {
    tell(response, 5, '{"n": 1e999}', ',"subject":"17"');
    tell(response, 6, '"two\\nlines\\u001b[31m"', ',"datacontenttype":"text/plain"');
    tell(response, 7, `"${'x'.repeat(300)}"`);
    response.write('id: 8-h\ntopic: orders\nposition: 8\nevent: event\n');
    response.write(
      'data: {"specversion":"1.0","id":"e8","source":"s","type":"orders","datacontenttype":"image/png","data_base64":"AAEC"}\n\n',
    );
  });
  const words = [
    'tail',
    'orders.**',
    '--limit',
    '4',
    '--from',
    '4',
    '--filter',
    'type=order.*',
    '--filter',
    'subject!=9',
  ];
  const script = await run(words, { env });
  assert.deepEqual([script.code, script.stderr], [0, '']);
  assert.equal(
    script.stdout,
    [
      '5\torders\torder.placed\t17\t{"n": 1e999}',
      '6\torders\torder.placed\t\ttwo lines',
      `7\torders\torder.placed\t\t"${'x'.repeat(300)}"`,
      '8\torders\torders\t\t<3 B of image/png>',
      '',
    ].join('\n'),
  );
  const [{ path, query }] = seen as [(typeof seen)[0]];
  assert.equal(path, '/v1/topics/orders.**/events');
  assert.equal(query.get('from'), '4');
  assert.deepEqual(JSON.parse(query.get('filter')!), [
    { prefix: { type: 'order.' } },
    { not: { exact: { subject: '9' } } },
  ]);
  const json = await run(['tail', 'orders', '--limit', '1', '--json'], { env });
  assert.equal(json.stdout, `${itemOf(5, '{"n": 1e999}', ',"subject":"17"')}\n`);
  const person = await run(['tail', 'orders', '--limit', '4'], { env: { ...env, NO_COLOR: '1' }, tty: true });
  const lines = person.stdout.split('\n');
  assert.equal(lines[0], '#5  orders  order.placed  17  {"n": 1e999}');
  assert.ok(lines[2]!.length <= 200 && lines[2]!.endsWith('x…'), lines[2]);
  assert.match(person.stderr, /Waiting for what is published on orders from now on/);
});

test('tail: a lost server is waited for, a gap is said, and Ctrl-C says how to come back', async (t) => {
  let streams = 0;
  const { env } = await fakeServer(t, (_, response) => {
    if (++streams === 1) return sendProblem(response, 503, 'shutting-down', 'it restarts');
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const reset = { type: 'reset', reason: 'removed', from: 3, to: 7, detail: 'they were removed' };
    response.write(`id: 3-h\nevent: reset\ndata: ${JSON.stringify(reset)}\n\n`);
    return tell(response, 8, '1');
  });
  let send: (signal: NodeJS.Signals) => void = () => {};
  const { code, stdout, stderr } = await run(['tail', 'orders', '--from', '3'], {
    env,
    onListening: (own) => (send = own),
    onStdout: () => send('SIGINT'),
  });
  assert.deepEqual([code, stdout], [130, '8\torders\torder.placed\t\t1\n']);
  assert.match(stderr, /it restarts Trying again\./);
  assert.match(stderr, /events between the positions 3 and 7 are not there any more: they were removed\./);
  assert.match(stderr, /Come back with: npx waitless tail orders --from 8\n$/);
  for (const words of [
    ['--from', 'yesterday'],
    ['--filter', 'x'],
    ['--filter', 'type=a*b'],
    ['--limit', '0'],
  ]) {
    const wrong = await run(['tail', 'orders', ...words], { env });
    assert.equal(wrong.code, 2, wrong.stderr);
  }
});

interface Call {
  max: number;
  settle: { token: string; ack?: true; nack?: { message: string } }[];
}

/** A subscription with these events. */
async function subscriptionWith(t: Parameters<typeof fakeServer>[0], items: string[]) {
  const calls: Call[] = [];
  const told: string[] = [];
  const server = await fakeServer(t, ({ path, body }, response) => {
    if (path.startsWith('/v1/leases/')) {
      told.push(path);
      return sendJson(response, 200, { status: 'recorded' });
    }
    if (path === '/v1/subscriptions')
      return sendJson(response, 200, { items: [{ name: 'history' }, { name: 'mails' }], next: null });
    if (path !== '/v1/subscriptions/history/leases')
      return sendProblem(response, 404, 'unknown-subscription', 'there is none');
    const call = JSON.parse(body.toString()) as Call & { waitSeconds: number };
    calls.push(call);
    const given = items.splice(0, call.max);
    if (given.length === 0 && call.waitSeconds > 0) return undefined;
    const leases = given.map((item, at) =>
      item.replace('{', `{"token":"t${calls.length}${at}","attempt":1,"lastAttempt":false,`),
    );
    response.end(`{"settled":${JSON.stringify(call.settle.map(() => ({ status: 200 })))},"leases":[${leases.join()}]}`);
    return undefined;
  });
  return { ...server, calls, told };
}

test('consume: prints, acknowledges what it printed, and takes no more than it was asked for', async (t) => {
  const { env, calls, told } = await subscriptionWith(t, [itemOf(1, '"a"'), itemOf(2, '"b"'), itemOf(3, '"c"')]);
  const { code, stdout } = await run(['consume', 'history', '--limit', '2', '--json'], { env });
  assert.deepEqual([code, stdout], [0, `${itemOf(1, '"a"')}\n${itemOf(2, '"b"')}\n`]);
  assert.deepEqual(calls.map(({ max, settle }) => [max, settle]), [[1, []], [1, [{ token: 't10', ack: true }]]]); // prettier-ignore
  assert.deepEqual(told, ['/v1/leases/t20/ack']);
});

test('consume --exec: the data is the input, the exit code says whether the event is done', async (t) => {
  const { env, calls } = await subscriptionWith(t, [itemOf(1, '{"n": 1}', ',"subject":"17"'), itemOf(2, '2')]);
  let send: (signal: NodeJS.Signals) => void = () => {};
  let stderr = '';
  const command = `cat; echo " $WAITLESS_EVENT_SUBJECT $WAITLESS_POSITION"; test "$WAITLESS_POSITION" = 1 || { echo no >&2; exit 3; }`;
  const { code, stdout } = await run(['consume', 'history', '--exec', command], {
    env: { ...env, PATH: process.env['PATH']! },
    onListening: (own) => (send = own),
    onStderr(text) {
      stderr += text;
      if (/#2 {2}comes again/.test(stderr)) send('SIGTERM');
    },
  });
  assert.deepEqual([code, stdout], [0, '{"n": 1} 17 1\n']);
  assert.match(stderr, /#1 {2}done after .*\n(.*\n)*#2 {2}comes again after .*: no \(exit code 3\)/);
  assert.deepEqual(calls[1]!.settle, [{ token: 't10', ack: true }]);
});

test('consume: an unknown subscription is answered with those there are, and options that contradict each other', async (t) => {
  const { env } = await subscriptionWith(t, []);
  const unknown = await run(['consume', 'histroy'], { env });
  assert.deepEqual([unknown.code, unknown.stderr], [1, 'waitless: there is no subscription "histroy" here, only: history, mails.\n']); // prettier-ignore
  for (const words of [
    ['--exec', 'x', '--json'],
    ['--exec', 'x', '--limit', '1'],
    ['--concurrency', '2'],
  ])
    assert.equal((await run(['consume', 'history', ...words], { env })).code, 2);
});
