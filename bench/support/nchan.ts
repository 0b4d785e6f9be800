// nginx with nchan, the push server to be measured against: one worker, in a temporary folder, on loopback, messages in memory.
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from './bench.ts';
import { treeCpuSeconds } from './process-tree.ts';

const command = '/usr/sbin/nginx';
const nchanModule = '/usr/lib/nginx/modules/ngx_nchan_module.so';
const tries = 100;
const retryMs = 50;

export interface Nchan {
  port: number;
  cpuSeconds: () => number;
  stop(): Promise<void>;
}

/** Why there can be none here, or undefined. */
export const nchanMissing = (): string | undefined =>
  existsSync(command) && existsSync(nchanModule)
    ? undefined
    : 'nginx with nchan is not installed (Debian: apt-get install nginx-light libnginx-mod-nchan)';

function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

const opens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

const settings = (folder: string, port: number): string => `load_module ${nchanModule};
worker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log ${folder}/error.log warn; worker_rlimit_nofile 20000;
events { worker_connections 8192; }
http {
  access_log off; client_body_buffer_size 16k; keepalive_requests 10000000;
  client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  nchan_message_buffer_length 64; nchan_message_timeout 30s;
  server {
    listen 127.0.0.1:${port};
    location = /pub { nchan_publisher; nchan_channel_id ch; }
    location = /sub { nchan_subscriber; nchan_channel_id ch; nchan_subscriber_first_message newest; }
  }
}
`;

export async function startNchan(bench: Bench): Promise<Nchan> {
  const folder = bench.newFolder();
  // Its worker is another user.
  chmodSync(folder, 0o777);
  const port = await freePort();
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, settings(folder, port));
  const child = bench.children.spawn(command, ['-p', folder, '-c', file], {
    logFile: bench.newFile('nginx.log'),
    env: process.env,
  });
  for (let i = 0; !(await opens(port)); i++) {
    if (i === tries) throw new Error('nginx does not listen');
    await pause(retryMs);
  }
  return { port, cpuSeconds: () => treeCpuSeconds(child.pid), stop: () => child.stop('SIGTERM') };
}
