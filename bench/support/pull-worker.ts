// A pull worker in a process of its own: some connections, each settling its last batch and leasing the next in one request.
//
// Arguments: ports with commas between, service, connections, which are divided among the ports. It answers every operation with the same small reply.
import { leaseForever } from './lease-loop.ts';
import { replyBody } from './payload.ts';

const [portsText, service, connections] = process.argv.slice(2) as [string, string, string];
const ports = portsText.split(',').map(Number);

function stop(error: Error): void {
  process.stderr.write(`the pull worker had to stop: ${error.message}\n`);
  process.exit(1);
}

const work = (_: unknown, i: number): Promise<void> =>
  leaseForever({
    port: ports[i % ports.length]!,
    path: `/v1/services/${service}/leases`,
    worker: `bench-${i + 1}`,
    max: 64,
    readBytes: 131_072,
    answer: `"reply":{"status":200,"headers":{"Content-Type":"application/json"},"body":${replyBody}}`,
    onBroken: stop,
  });

process.on('disconnect', () => process.exit(0));
Promise.all(Array.from({ length: Number(connections) }, work)).then(() => process.send!('ready'), stop);
