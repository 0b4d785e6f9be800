// The program of a worker that takes leases, says so and answers none: started by spawn-worker.ts, ended by a signal.
import { leaseCall } from './pull-worker.ts';

const [url, service, worker, max] = process.argv.slice(2) as [string, string, string, string];
let held = 0;
while (held < Number(max))
  held += (await leaseCall(url, service, { worker, max: Number(max) - held, waitSeconds: 10 })).leases.length;
console.log(`holds ${held}`);
// A timer is all that keeps it alive.
setInterval(() => undefined, 1 << 30);
