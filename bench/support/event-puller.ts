// The consumer of a pull subscription in a process of its own: each of its connections acknowledges what it has and takes the next in one request.
//
// Arguments: port, subscription, connections.
import { leaseForever } from './lease-loop.ts';

const [port, subscription, connections] = process.argv.slice(2) as [string, string, string];

function stop(error: Error): void {
  process.stderr.write(`the puller had to stop: ${error.message}\n`);
  process.exit(1);
}

const consume = (_: unknown, i: number): Promise<void> =>
  leaseForever({
    port: Number(port),
    path: `/v1/subscriptions/${subscription}/leases`,
    worker: `bench-${i + 1}`,
    max: 1000,
    readBytes: 1_048_576,
    answer: '"ack":true',
    onBroken: stop,
  });

process.on('disconnect', () => process.exit(0));
Promise.all(Array.from({ length: Number(connections) }, consume)).then(() => process.send!('ready'), stop);
