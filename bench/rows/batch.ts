// Durable operations per second through batches, as an array and as lines, and how many syncs a batch costs.
import type { Bench, Row } from '../support/bench.ts';
import type { Figure } from '../support/figures.ts';
import { type Load, startLoad } from '../support/load.ts';
import { loadFigures, type LoadSample, per10k } from '../support/load-figures.ts';
import { countSyncs, straceMissing } from '../support/strace.ts';
import { metric, startWaitless } from '../support/waitless.ts';

const row = 'batch';
const items = 1000;
const inFlight = 4;
/** Of an item, its own envelope included. */
const itemBytes = 200;
const syncedBatches = 100;
/** Before the first run of a server: until then its code is not compiled. */
const warmUpSeconds = 2;
const leastPerSecond = 100_000;

interface Form {
  name: string;
  mediaType: string;
  body: string;
}

function item(number: number): string {
  const start = `{"service":"jobs","headers":{"Content-Type":"application/json"},"body":{"customerId":"c-${String(number).padStart(6, '0')}","note":"`;
  const end = '"}}';
  let note = '';
  for (let x = number + 1; note.length < itemBytes - start.length - end.length;) {
    x = (x * 1103515245 + 12345) & 0x7fffffff;
    note += ((x >> 16) & 15).toString(16);
  }
  return start + note + end;
}

const all: readonly string[] = Array.from({ length: items }, (_, number) => item(number));
const forms: readonly Form[] = [
  { name: 'JSON', mediaType: 'application/json', body: `[${all.join(',')}]` },
  { name: 'NDJSON', mediaType: 'application/x-ndjson', body: all.join('\n') },
];

const requestBytes = (port: number, { mediaType, body }: Form): Buffer =>
  Buffer.from(
    `POST /v1/batch HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: ${mediaType}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    'latin1',
  );

/** Sends batches and makes sure that every item of them was accepted: the load process sees only that the batches were. */
async function send(load: Load, port: number, form: Form, amount: { seconds: number } | { count: number }) {
  const accepted = (): Promise<number> =>
    metric({ port }, 'waitless_operations_accepted_total', { durability: 'stored' });
  const before = await accepted();
  const result = await load.run({
    port,
    connections: inFlight,
    request: requestBytes(port, form),
    expect: { status: 200 },
    ...amount,
  });
  const stored = (await accepted()) - before;
  if (stored !== result.operations * items)
    throw new Error(`${result.operations} batches of ${items} made ${stored} operations`);
  return result;
}

async function rates(bench: Bench, load: Load): Promise<Figure[]> {
  const server = await startWaitless(bench, { services: ['--pull', 'jobs'] });
  bench.step('batch: warming up');
  for (const form of forms) await send(load, server.port, form, { seconds: warmUpSeconds });
  const rounds = await bench.repeat('batch: JSON and NDJSON in turn', async () => {
    const samples: LoadSample[] = [];
    for (const form of forms) {
      const { result, cpu } = await bench.measure([server.pid, load.pid], () =>
        send(load, server.port, form, { seconds: bench.options.seconds }),
      );
      samples.push({
        perSecond: result.perSecond * items,
        cpuPer10k: per10k(cpu[0]!, result.operations * items),
        p50: result.p50,
        p99: result.p99,
      });
    }
    return samples;
  });
  await server.stop();
  bench.removeFolder(server.data);
  return forms.flatMap(({ name }, i) =>
    loadFigures({
      row,
      name: `${name}, ${items} items, ${inFlight} in flight`,
      samples: rounds.map((samples) => samples[i]!),
      targets: { perSecond: { atLeast: leastPerSecond } },
    }),
  );
}

async function syncs(bench: Bench, load: Load): Promise<Figure> {
  const figure: Figure = {
    row,
    case: 'syncs',
    what: 'syncs per batch',
    unit: '',
    values: [],
    target: { atMost: 1 },
    note: `${syncedBatches} batches of ${items}, ${inFlight} in flight; those of the store's own upkeep included`,
  };
  const skipped = await straceMissing();
  if (skipped) return { ...figure, skipped };
  const values = await bench.repeat('batch: counting syncs', async () => {
    const trace = bench.newFile('syncs');
    const server = await startWaitless(bench, { services: ['--pull', 'jobs'], tracing: { countTo: trace } });
    await send(load, server.port, forms[0]!, { count: syncedBatches });
    const fromMs = Date.now();
    await send(load, server.port, forms[0]!, { count: syncedBatches });
    const toMs = Date.now();
    await server.stop();
    bench.removeFolder(server.data);
    return countSyncs(trace, { fromMs, toMs }) / syncedBatches;
  });
  return { ...figure, values };
}

export const batchRow: Row = {
  name: row,
  about: 'durable operations through POST /v1/batch as JSON and as NDJSON, CPU, syncs per batch',
  async run(bench) {
    const load = await startLoad(bench.children);
    const figures: Figure[] = [];
    if (bench.wants('JSON')) figures.push(...(await rates(bench, load)));
    if (bench.wants('syncs')) figures.push(await syncs(bench, load));
    await load.stop();
    return figures;
  },
};
