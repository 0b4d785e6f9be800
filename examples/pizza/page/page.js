// The page watches Waitless itself, by read-only tokens that the pizzeria's server gives it: facts of all orders, and the stages of its own.

const $ = (id) => document.getElementById(id);

/** A new element with text in it: whatever a guest is called, it is never read as markup. */
function element(name, text = '') {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

async function ask(path, value) {
  const init = value && {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(value),
  };
  const answer = await fetch(path, init);
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
}

/** Orders that somebody has heard of, by their number. */
const rows = new Map();
const shownRows = 60;

function count() {
  const ready = [...rows.values()].filter((row) => row.className === 'ready').length;
  $('counts').textContent = `${rows.size} ordered, ${ready} ready`;
}

/** The row of an order; "ready" may be heard before "ordered". */
function rowOf({ order, guest, pizza }) {
  let row = rows.get(order);
  if (row) return row;
  row = element('tr');
  row.append(element('td', order.slice(0, 8)), element('td', guest), element('td', pizza), element('td', 'ordered'));
  rows.set(order, row);
  $('board').prepend(row);
  if ($('board').children.length > shownRows) $('board').lastElementChild.remove();
  return row;
}

/** What happened in the pizzeria, from the beginning and on: everybody hears the same facts, and this page is one of them. */
async function watchFacts() {
  const { url } = await ask('facts');
  const facts = new EventSource(url);
  facts.onopen = () => (document.body.dataset.facts = 'open');
  facts.addEventListener('event', ({ data }) => {
    const { type, data: fact } = JSON.parse(data);
    const row = rowOf(fact);
    if (type === 'OrderReady') {
      row.className = 'ready';
      row.lastElementChild.textContent = `ready, made by ${fact.by}`;
    }
    count();
  });
  // Its place is void, as when the store was put back from a copy: what there is follows from the beginning.
  facts.addEventListener('reset', () => {
    rows.clear();
    $('board').replaceChildren();
    count();
  });
}

/** Pizzas that were ordered on this page and are not ready yet, by the number of the order. */
const mine = new Map();
let told;
let rounds = 0;

/** The stages of one's own pizzas, as the cooks report them: on one connection, since a browser has six to a host and no more. */
async function watchMine() {
  const orders = [...mine.keys()].join();
  if (orders === '') return;
  const round = ++rounds;
  const { url } = await ask(`watch?orders=${orders}`);
  // Meanwhile another one was ordered, which asks for all of them.
  if (round !== rounds) return;
  told?.close();
  told = new EventSource(url);
  for (const kind of ['progress', 'succeeded', 'failed', 'cancelled'])
    told.addEventListener(kind, ({ data }) => {
      const event = JSON.parse(data);
      const pizza = mine.get(event.correlationId);
      // A stream begins with what was told on the one before.
      if (!pizza || event.version <= pizza.version) return;
      pizza.version = event.version;
      pizza.show(event);
      if (event.done) mine.delete(event.correlationId);
    });
}

/** A line of the page for one pizza. */
function lineFor(pizza) {
  const [stage, stages, bar] = [element('span', 'OK, we have your order'), element('small'), element('progress')];
  bar.max = 100;
  bar.value = 0;
  const item = element('li');
  item.append(element('strong', pizza), stage, stages, bar);
  $('mine').prepend(item);
  return {
    version: 0,
    show({ status, done, progress }) {
      stage.textContent = !done ? progress.stage : status === 'succeeded' ? 'ready for pickup' : status;
      if (!done) stages.textContent = [stages.textContent, progress.stage].filter(Boolean).join(' → ');
      bar.value = done ? 100 : progress.percent;
    },
  };
}

/** Says on the page what went wrong. */
const trying = (what) => () => what().catch((error) => ($('said').textContent = error.message));

$('order').onclick = trying(async () => {
  const pizza = 'margherita';
  const { order } = await ask('orders', { guest: 'You', pizza });
  $('said').textContent = `OK: order ${order.slice(0, 8)}`;
  mine.set(order, lineFor(pizza));
  await watchMine();
});

$('surge').onclick = trying(async () => {
  const guests = Array.from({ length: 40 }, (_, index) => `Guest ${index + 1}`);
  await Promise.all(guests.map((guest) => ask('orders', { guest, pizza: 'slice' })));
  $('said').textContent = 'OK: 40 orders';
});

await trying(watchFacts)();
