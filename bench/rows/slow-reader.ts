// What subscribers that stop reading cost the others.
import type { Row } from '../support/bench.ts';
import { type Publisher, startPublisher, startWatchers, watchedOperation, type Watchers } from '../support/fanout.ts';
import { loadFigures, type LoadSample, per10k } from '../support/load-figures.ts';
import { ratioFigure } from '../support/ratio.ts';
import { startWaitless, type Waitless } from '../support/waitless.ts';

const row = 'slow-reader';
const count = 200;
const stalled = 10;
const outstanding = 8;
const warmUpSeconds = 1;
const names = [`${count} watchers`, `${count} watchers and ${stalled} that never read`] as const;

export const slowReaderRow: Row = {
  name: row,
  about: `progress told to ${count} watchers, alone and with ${stalled} more that never read, in turn`,
  async run(bench) {
    const sides: { server: Waitless; watchers: Watchers; publisher: Publisher }[] = [];
    for (const more of [0, stalled]) {
      const server = await startWaitless(bench, { services: ['--pull', 'jobs'] });
      const { port } = server;
      const { id, publish } = await watchedOperation(server);
      const path = `/v1/operations/${id}/events`;
      const watchers = await startWatchers(bench, { outlet: 'sse', port, path, count, stalled: more });
      const publisher = await startPublisher({ port, request: publish, status: 200, most: outstanding });
      sides.push({ server, watchers, publisher });
    }
    const measured = async (side: number, seconds: number): Promise<LoadSample> => {
      const { server, watchers, publisher } = sides[side]!;
      const { result, cpu } = await bench.measure([server.pid, watchers.pid], () =>
        publisher.run(watchers, { count, outstanding, seconds }),
      );
      const { perSecond, p50, p99, deliveries } = result;
      return { perSecond, cpuPer10k: per10k(cpu[0]!, deliveries), p50, p99 };
    };
    for (const side of [0, 1]) await measured(side, warmUpSeconds);
    const rounds = await bench.repeat(row, async () => [
      await measured(0, bench.options.seconds),
      await measured(1, bench.options.seconds),
    ]);
    for (const { server, watchers, publisher } of sides) {
      publisher.close();
      await watchers.stop();
      await server.stop();
    }
    return [
      ratioFigure({
        row,
        case: 'others',
        what: 'deliveries, with / without',
        of: rounds.map(([, beside]) => beside!.perSecond),
        to: rounds.map(([alone]) => alone!.perSecond),
        target: { atLeast: 0.9 },
      }),
      ...names.flatMap((name, i) => loadFigures({ row, name, samples: rounds.map((round) => round[i]!) })),
    ];
  },
};
