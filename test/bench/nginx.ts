import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';

export interface Nginx {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** nginx as a caching proxy with slices, one worker, `tcp_nopush off` (it stalls 64 KiB ranges otherwise). */
export async function startNginx(folder: string, upstream: string, slice: '1m' | '4m'): Promise<Nginx> {
  await mkdir(folder, { recursive: true });
  const port = await freePort();
  const user = process.getuid?.() === 0 ? 'user root; ' : '';
  const config = `${user}daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log warn;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush off; tcp_nodelay on; keepalive_requests 1000000;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  proxy_cache_path ${folder}/cache keys_zone=c:10m max_size=8g use_temp_path=off;
  server { listen 127.0.0.1:${port};
    location / { slice ${slice}; proxy_cache c; proxy_cache_key $uri$slice_range; proxy_set_header Range $slice_range;
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_cache_valid 200 206 1h; proxy_pass ${upstream}; } } }
`;
  await writeFile(join(folder, 'nginx.conf'), config);
  const child = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf')], { stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}`;
  await eventually(async () => (await httpGet(`${url}/v2/`)).status > 0, {
    timeoutMs: 5_000,
    what: 'nginx answers',
  });
  return {
    url,
    pid: Number(await readFile(join(folder, 'pid'), 'utf8')),
    stop: async () => {
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      await exit;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
