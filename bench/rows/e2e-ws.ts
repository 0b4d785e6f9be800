// End to end over one WebSocket on each side: submit and watch in one frame, leases with credits, the reply in the last event.
import type { Bench, Row } from '../support/bench.ts';
import { firstMessage } from '../support/children.ts';
import type { Figure } from '../support/figures.ts';
import { loadFigures, loadSample, type LoadSample, per10k } from '../support/load-figures.ts';
import { startWaitless } from '../support/waitless.ts';
import type { SidesJob, SidesResult } from '../support/ws-sides.ts';

const row = 'e2e-ws';
const service = 'jobs';
const warmUpSeconds = 2;
const inFlight = [512, 64, 1] as const;

async function startSide(bench: Bench, side: 'client' | 'worker', port: number) {
  const child = bench.children.fork('./ws-sides.ts', [side, String(port), service]);
  await firstMessage(child, `the ${side}`);
  return {
    pid: child.pid,
    stop: () => child.stop(),
    run: (job: SidesJob): Promise<SidesResult> => {
      const result = firstMessage<SidesResult>(child, `the ${side}`);
      child.process.send(job);
      return result;
    },
  };
}

export const e2eWsRow: Row = {
  name: row,
  about: 'the same over one WebSocket for the client and one for the worker, at 512, 64 and 1 in flight',
  async run(bench) {
    const server = await startWaitless(bench, { services: ['--pull', service] });
    const worker = await startSide(bench, 'worker', server.port);
    const client = await startSide(bench, 'client', server.port);
    bench.step(`${row}: warming up`);
    await client.run({ inFlight: 64, seconds: warmUpSeconds });
    const figures: Figure[] = [];
    for (const count of inFlight) {
      const name = `${count} in flight`;
      if (!bench.wants(name)) continue;
      const runs = await bench.repeat(`${row}: ${name}`, async () => {
        const { result, cpu } = await bench.measure([server.pid, worker.pid, client.pid], () =>
          client.run({ inFlight: count, seconds: bench.options.seconds }),
        );
        const sample: LoadSample = loadSample(result, cpu[0]!);
        return { ...sample, sidesCpu: per10k(cpu[1]! + cpu[2]!, result.operations) };
      });
      const targets = count === 512 ? { perSecond: { atLeast: 20_000 } } : {};
      figures.push(...loadFigures({ row, name, samples: runs, targets }), {
        row,
        case: name,
        what: 'CPU of both sides per 10,000',
        unit: 's',
        values: runs.map(({ sidesCpu }) => sidesCpu),
      });
    }
    await client.stop();
    await worker.stop();
    await server.stop();
    bench.removeFolder(server.data);
    return figures;
  },
};
