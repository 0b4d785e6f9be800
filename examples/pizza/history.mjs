// The order history: takes what was ordered since it looked last, writes it down, and acknowledges it. What it was away for it finds when it comes.
const url = `${process.env.WAITLESS_URL}/v1/subscriptions/history/leases`;

/** By the id of the event: what is told twice, because an acknowledgement was lost, is written down once. */
const orders = new Map();
const stopping = new AbortController();
process.once('SIGTERM', () => stopping.abort());
console.log('history ready');

let settle = [];
while (!stopping.signal.aborted) {
  try {
    // Acknowledges the events before, and waits for the next ones.
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ worker: 'history', max: 100, waitSeconds: 30, settle }),
      signal: stopping.signal,
    });
    if (!response.ok) throw new Error(await response.text());
    const { leases } = await response.json();
    for (const { event } of leases) {
      const { order, guest, pizza } = event.data;
      if (orders.has(event.id)) continue;
      orders.set(event.id, event.data);
      console.log(`writes down ${orders.size}: ${order} ${guest} ordered a ${pizza}`);
    }
    settle = leases.map(({ token }) => ({ token, ack: true }));
  } catch (error) {
    if (stopping.signal.aborted) break;
    console.log(`asks again: ${error.message}`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
