// The evening, scene by scene: each shows one thing that events are good for, and says what it took.
import { eventsOf } from '../takeaway/guests.mjs';
import { order, watching } from './site.mjs';
import { owner } from './subscriptions.mjs';

/**
 * @typedef {{ url: string, signal: AbortSignal, cooks: readonly string[] }} Place where Waitless is, and who works there
 * @typedef {(name: string) => import('../credit-score/processes.mjs').Running} Of a process by its name
 * @typedef {{ scene: (title: string) => void, tell: (who: string, what: string) => void }} Narrator
 */

/** How many come at once. */
const surge = 40;
const json = { 'Content-Type': 'application/json' };

/** @param {Place & Narrator & { of: Of, callHistory: () => import('../credit-score/processes.mjs').Running }} stage */
export async function story({ url, signal, cooks, scene, tell, of, callHistory }) {
  /** One order, from the 202 to the message that it is ready. */
  async function alice() {
    scene('Everybody is at work but the order history, which will come late:');
    const startedAt = Date.now();
    const placed = await order(url, { guest: 'Alice', pizza: 'margherita' });
    const tookMs = Date.now() - startedAt;
    tell('Alice', `orders a margherita, and it is OK at once: ${placed.status} after ${tookMs} ms`);
    const stream = await fetch(await watching(url, [placed.order]), { signal });
    for await (const { done, status, progress } of eventsOf(stream)) {
      if (progress && !done) tell('Alice', `sees: ${progress.stage}, ${progress.percent} %`);
      if (done) tell('Alice', `sees: ${status}`);
    }
    await of('notifier').line(/^to Alice: your margherita is ready/);
    return placed.order;
  }

  /** Orders that were placed before it was there. @param {string} number of Alice's order */
  async function comesLate(number) {
    scene('Only now the order history is started. Its subscription has kept everything for it:');
    await callHistory().line(new RegExp(`^writes down 1: ${number} Alice`));
  }

  /** The same work from a request and not from an event: its status, result and message are the same. */
  async function direct() {
    scene('The same kitchen by API, with no event at all: the request waits for its pizza.');
    const headers = { ...json, Prefer: 'wait=30' };
    const init = { method: 'POST', headers, body: '{"guest":"Bo","pizza":"slice"}', signal };
    const answer = await fetch(`${url}/v1/call/kitchen`, init);
    const { pizza, by } = await answer.json();
    tell('Bo', `asks the kitchen itself: ${answer.status}, a ${pizza} by ${by}`);
    await of('notifier').line(/^to Bo: your slice is ready for pickup/);
    tell('notifier', 'to Bo: your slice is ready for pickup');
    return answer.headers.get('operation-id') ?? '';
  }

  /** A fourth who wants to know comes in the middle of the evening: a PUT, and nobody else has to hear of it. */
  async function ownerComes() {
    scene('The owner comes, and wants to know of every pizza that is finished from now on:');
    const init = { method: 'PUT', headers: json, body: JSON.stringify(owner), signal };
    const made = await fetch(`${url}/v1/subscriptions/owner`, init);
    tell('owner', `has a subscription: ${made.status}`);
  }

  /** Nobody publishes what the owner counts: an operation that ends is an event itself. @param {number} finished how many there must be */
  async function ownerCounts(finished) {
    const counted = new Set();
    for (let settle = []; counted.size < finished || settle.length > 0;) {
      const waitSeconds = counted.size < finished ? 30 : 0;
      const init = { method: 'POST', headers: json, body: JSON.stringify({ max: 100, waitSeconds, settle }), signal };
      const { leases } = await (await fetch(`${url}/v1/subscriptions/owner/leases`, init)).json();
      for (const { event } of leases) counted.add(event.id);
      settle = leases.map(({ token }) => ({ token, ack: true }));
    }
    console.log(`  the owner counted ${counted.size} pizzas`);
  }

  /** Many at once: each order goes to one cook, and each of the three subscriptions hears of it. */
  async function rush() {
    scene(`Then ${surge} guests at once, each with an appetite for a slice:`);
    const guests = Array.from({ length: surge }, (_, index) => `Guest ${index + 1}`);
    const startedAt = Date.now();
    const placed = await Promise.all(guests.map((guest) => order(url, { guest, pizza: 'slice' })));
    tell('guests', `${placed.length} orders are OK after ${Date.now() - startedAt} ms`);
    await Promise.all([
      ...placed.map(({ order: number }) => of('notifier').line(new RegExp(`ready for pickup \\(${number}\\)$`))),
      ...guests.map((guest) => of('notifier').line(new RegExp(`^to ${guest}: we have your order`))),
      ...placed.map(({ order: number }) => of('history').line(new RegExp(`^writes down \\d+: ${number} `))),
    ]);
    tell('guests', 'all have been told that theirs is ready');
    return placed.map(({ order: number }) => number);
  }

  /** A cook dies in the middle: his pizza goes to the other one, from the beginning, and is ready once. */
  async function dropsDead() {
    scene('And one more, whose cook does not live to see it:');
    const placed = await order(url, { guest: 'Cleo', pizza: 'calzone' });
    const cook = await Promise.race(
      cooks.map((name) =>
        of(name)
          .line(/^calzone for Cleo: Bake$/)
          .then(() => name),
      ),
    );
    process.kill(of(cook).pid, 'SIGKILL');
    tell(cook, 'drops dead (kill -9)');
    await of('notifier').line(/^to Cleo: your calzone is ready/);
    await of('history').line(/Cleo ordered a calzone$/);
    return placed.order;
  }

  /** The first group of every line of a process that matches. @param {string} name @param {RegExp} pattern */
  const found = (name, pattern) => of(name).lines.flatMap((line) => pattern.exec(line)?.[1] ?? []);

  /**
   * What the evening came to. Throws where it was not as the README tells it.
   * @param {{ ordered: readonly string[], made: readonly string[] }} numbers of what was ordered at the counter, and of all that was made
   */
  async function summary({ ordered, made }) {
    const written = found('history', /^writes down \d+: (\w+)/);
    const called = found('notifier', /ready for pickup \((\w+)\)$/);
    const thanked = found('notifier', /^to (.+): we have your order/);
    scene('What the evening came to:');
    for (const name of cooks) {
      const slices = found(name, /^ready: (\w+) slice for Guest /).length;
      console.log(`  ${name} made ${slices} of the ${surge} slices`);
    }
    await ownerCounts(surge + 1);
    console.log(`  the history has ${written.length} orders`);
    console.log(`  the notifier sent ${thanked.length} thanks and ${called.length} calls for pickup`);
    const same = (/** @type {readonly string[]} */ a, /** @type {readonly string[]} */ b) =>
      a.toSorted().join() === b.toSorted().join();
    const problems = [];
    if (!same(written, ordered)) problems.push('the history has not each order once');
    if (!same(called, made)) problems.push('not every guest was called once');
    if (thanked.length !== ordered.length) problems.push('not every guest was thanked once');
    if (problems.length > 0) throw new Error(problems.join('; '));
  }

  const number = await alice();
  await comesLate(number);
  const bos = await direct();
  await ownerComes();
  const ordered = [number, ...(await rush()), await dropsDead()];
  await summary({ ordered, made: [...ordered, bos] });
}
