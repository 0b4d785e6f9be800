// What an event costs where there are ten thousand subscriptions that do not want it: counted in looks at the store, none of them is touched.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { backendFor } from '../support/backend.ts';
import { callbackFields } from '../support/receiver.ts';
import { until } from '../support/http.ts';
import { serverFor } from '../support/server.ts';
import { publish } from '../support/topics.ts';

const others = 10_000;
/** Nothing looks without a hint: what is counted is what events cause. */
const pollMs = 3_600_000;

interface Looks {
  /** By the number of the subscription. */
  taking: Map<number, number>;
  /** At one by its name, or at all. */
  records: number;
  /** Hints are passed on: those that come of making the subscriptions would be taken for what events cause. */
  isHeard: boolean;
}

/** Counts who asks the store for what, which has its subscriptions the moment it is open. */
function counting(engine: Engine, looks: Looks, seed: (engine: Engine) => Promise<void>): Engine {
  const took = (number: number): void => void looks.taking.set(number, (looks.taking.get(number) ?? 0) + 1);
  const counted: Partial<Engine> = {
    async open(nowMs) {
      const opened = await engine.open(nowMs);
      await seed(engine);
      return opened;
    },
    onSignal: (listener) =>
      engine.onSignal((signal) => {
        if (looks.isHeard) listener(signal);
      }),
    leaseDue: (wanted, nowMs) => (took(wanted.subscription), engine.leaseDue(wanted, nowMs)),
    claim: (claim, nowMs) => (took(claim.subscription), engine.claim(claim, nowMs)),
    subscription: (key) => (looks.records++, engine.subscription(key)),
    subscriptions: (namespace) => (looks.records++, engine.subscriptions(namespace)),
  };
  return new Proxy(engine, {
    get(target, name) {
      const own = counted[name as keyof Engine] ?? target[name as keyof Engine];
      return typeof own === 'function' ? (own as () => unknown).bind(target) : own;
    },
  });
}

async function save(
  engine: Engine,
  name: string,
  document: Record<string, unknown> & { topic: string },
): Promise<number> {
  const topics = [document.topic];
  const { subscription } = await engine.saveSubscription(
    { namespace: 'default', name, text: JSON.stringify({ document }), topics, savedAt: Date.now() },
    'start',
  );
  return subscription.number;
}

test('an event touches the one subscription that wants it, and none of 10,000 that do not', async (t) => {
  const receiver = await backendFor(t, () => ({ status: 204 }));
  const looks: Looks = { taking: new Map(), records: 0, isHeard: false };
  let wanting = 0;
  const { url } = await serverFor(t, {
    fields: await callbackFields(t),
    extras: { pollMs },
    wrapEngine: (engine) =>
      counting(engine, looks, async (store) => {
        // A half is sent to and looks by itself, a half is asked by workers; patterns of every kind, and a filter.
        await Promise.all(
          Array.from({ length: others }, (_, i) =>
            save(store, `other-${i}`, {
              topic: [`orders.${i}.placed`, `orders.${i}.*`, `orders.${i}.**`, `*.${i}.placed`][i % 4]!,
              target: i % 2 === 0 ? { url: receiver.url } : { pull: true },
              filter: { exact: { type: 'never' } },
            }),
          ),
        );
        wanting = await save(store, 'wanting', { topic: 'stock.**', target: { url: receiver.url } });
      }),
  });
  // Each that is sent to has its first look, and the first event makes the key that it is signed with.
  await until(() => (looks.taking.size === others / 2 + 1 ? true : undefined));
  looks.isHeard = true;
  await publish(url, 'stock.pizza.low', { body: 'first' });
  await receiver.received(1);

  looks.taking.clear();
  looks.records = 0;
  for (let i = 2; i <= 21; i++) {
    await publish(url, 'stock.pizza.low', { body: `${i}` });
    await receiver.received(i);
  }
  assert.deepEqual([...looks.taking.keys()].slice(0, 20), [wanting], 'nobody else has looked');
  assert.ok(looks.records <= 3 * 20, `${looks.records} looks at the documents for 20 events`);
});
