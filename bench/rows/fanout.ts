// One publisher of progress and a thousand who watch it, as Server-Sent Events or each over a WebSocket, beside nginx with nchan, which stores nothing.
import type { Bench, Row } from '../support/bench.ts';
import {
  type FanoutResult,
  message,
  type Outlet,
  type Publisher,
  startPublisher,
  startWatchers,
  watchedOperation,
  type Watchers,
} from '../support/fanout.ts';
import type { Figure } from '../support/figures.ts';
import { loadFigures, type LoadSample, per10k } from '../support/load-figures.ts';
import { nchanMissing, startNchan } from '../support/nchan.ts';
import type { CpuSource } from '../support/process-stats.ts';
import { ratioFigure } from '../support/ratio.ts';
import { startWaitless } from '../support/waitless.ts';

const count = 1000;
const warmUpSeconds = 1;
/** Publishes outstanding, and what 10,000 deliveries may cost then. */
const cases = [
  { outstanding: 8, mostCpu: 0.02 },
  { outstanding: 1, mostCpu: 0.06 },
] as const;
const most = 8;

interface Contender {
  name: string;
  cpu: CpuSource;
  watchers: Watchers;
  publisher: Publisher;
  stop: () => Promise<void>;
}

async function waitlessContender(bench: Bench, outlet: Outlet): Promise<Contender> {
  const server = await startWaitless(bench, { services: ['--pull', 'jobs'] });
  const { port, pid } = server;
  const { id, publish } = await watchedOperation(server);
  const path = outlet === 'sse' ? `/v1/operations/${id}/events` : '/v1/stream';
  const say = outlet === 'ws' ? `{"type":"watch","operations":["${id}"]}` : '';
  const watchers = await startWatchers(bench, { outlet, port, path, count, say });
  const publisher = await startPublisher({ port, request: publish, status: 200, most });
  return { name: 'waitless', cpu: pid, watchers, publisher, stop: () => server.stop() };
}

async function nchanContender(bench: Bench, outlet: Outlet): Promise<Contender> {
  const server = await startNchan(bench);
  const { port, cpuSeconds } = server;
  const watchers = await startWatchers(bench, { outlet, port, path: '/sub', count });
  const request = Buffer.from(
    `POST /pub HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${message.length}\r\n\r\n${message}`,
  );
  const publisher = await startPublisher({ port, request, status: 201, most });
  return { name: 'nginx with nchan', cpu: cpuSeconds, watchers, publisher, stop: () => server.stop() };
}

async function measured(
  bench: Bench,
  { cpu, watchers, publisher }: Contender,
  { outstanding, seconds }: { outstanding: number; seconds: number },
): Promise<LoadSample> {
  const { result, cpu: spent } = await bench.measure<FanoutResult>([cpu, watchers.pid], () =>
    publisher.run(watchers, { count, outstanding, seconds }),
  );
  const { perSecond, p50, p99, deliveries } = result;
  return { perSecond, cpuPer10k: per10k(spent[0]!, deliveries), p50, p99 };
}

const fanoutRow = (outlet: Outlet): Row => ({
  name: `fanout-${outlet}`,
  about: `progress told to 1,000 watchers ${outlet === 'sse' ? 'as Server-Sent Events' : 'over a WebSocket each'}, beside nginx with nchan in turn`,
  async run(bench) {
    const row = `fanout-${outlet}`;
    const missing = nchanMissing();
    bench.step(`${row}: starting`);
    const contenders = [await waitlessContender(bench, outlet)];
    if (!missing) contenders.push(await nchanContender(bench, outlet));
    for (const contender of contenders) await measured(bench, contender, { outstanding: most, seconds: warmUpSeconds });
    const figures: Figure[] = [];
    for (const { outstanding, mostCpu } of cases) {
      const name = `${outstanding} outstanding`;
      if (!bench.wants(name)) continue;
      const rounds = await bench.repeat(`${row}: ${name}`, async () => {
        const samples: LoadSample[] = [];
        for (const contender of contenders)
          samples.push(await measured(bench, contender, { outstanding, seconds: bench.options.seconds }));
        return samples;
      });
      const ratio = { row, case: name, what: 'deliveries, waitless / nchan' };
      figures.push(
        missing
          ? { ...ratio, unit: '', values: [], skipped: missing }
          : ratioFigure({
              ...ratio,
              of: rounds.map(([ours]) => ours!.perSecond),
              to: rounds.map(([, theirs]) => theirs!.perSecond),
              ...(outstanding === most ? { target: { atLeast: 1 } } : {}),
            }),
        ...contenders.flatMap((contender, i) =>
          loadFigures({
            row,
            name: `${name}, ${contender.name}`,
            samples: rounds.map((round) => round[i]!),
            targets: i === 0 ? { cpuPer10k: { atMost: mostCpu } } : {},
          }),
        ),
      );
    }
    for (const { publisher, watchers, stop } of contenders) {
      publisher.close();
      await watchers.stop();
      await stop();
    }
    return figures;
  },
});

export const fanoutSseRow = fanoutRow('sse');
export const fanoutWsRow = fanoutRow('ws');
