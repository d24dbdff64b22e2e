import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { answers, freePort } from '../../e2e/support/net.ts';
import type { Scope } from '../../e2e/support/scope.ts';
import { type Service, startService } from '../../e2e/support/service.ts';
import { command } from '../programs.ts';
import { killTree, type RestartableRival } from './rival.ts';

const running = new Set<Nginx>();
// Before the harness kills the master, which would leave its worker behind.
process.prependListener('exit', () => {
  for (const nginx of running) nginx.killNow();
});

/** A cache in front of an origin, in slices of so much; or files as they are. */
export type NginxJob =
  | { readonly kind: 'cache'; readonly upstream: string; readonly slice: '1m' | '4m' }
  | { readonly kind: 'static'; readonly root: string };

/** nginx as its operator would set it for blobs: one worker, sendfile, and one reader of the origin per slice. */
export class Nginx implements RestartableRival {
  readonly name: string;
  readonly url: string;
  readonly #scope: Scope;
  readonly #folder: string;
  #service: Service | undefined;

  private constructor(scope: Scope, folder: string, name: string, port: number) {
    this.#scope = scope;
    this.#folder = folder;
    this.name = name;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async start(scope: Scope, job: NginxJob): Promise<Nginx> {
    const folder = await scope.folder('nginx');
    const port = await freePort();
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'nginx.conf'), configuration(folder, port, job));
    const name = job.kind === 'static' ? 'nginx static' : `nginx slice ${job.slice}`;
    const nginx = new Nginx(scope, folder, name, port);
    await nginx.start();
    return nginx;
  }

  get pid(): number {
    if (this.#service === undefined) throw new Error('nginx was not started');
    return this.#service.pid;
  }

  async start(): Promise<void> {
    running.add(this);
    this.#service = await startService(this.#scope, {
      name: 'nginx',
      command: command('nginx'),
      args: ['-p', this.#folder, '-c', join(this.#folder, 'nginx.conf')],
      logFile: join(this.#folder, 'nginx.log'),
      ready: () => answers(`${this.url}/ready`),
    });
  }

  async stop(): Promise<void> {
    await this.#service?.stop();
    running.delete(this);
  }

  async kill(): Promise<void> {
    this.killNow();
    await this.#service?.kill();
    running.delete(this);
  }

  killNow(): void {
    if (this.#service?.alive) killTree(this.pid);
  }
}

/**
 * `tcp_nopush off`: with it ranges of 64 KiB stall 40 ms on delayed acknowledgements. `proxy_cache_lock`: readers of
 * one cold slice wait for the first of them instead of asking the origin as well.
 */
function configuration(folder: string, port: number, job: NginxJob): string {
  const user = process.getuid?.() === 0 ? 'user root; ' : '';
  const location =
    job.kind === 'static'
      ? `root ${job.root};`
      : `slice ${job.slice}; proxy_cache c; proxy_cache_key $uri$slice_range; proxy_set_header Range $slice_range;
      proxy_cache_lock on; proxy_cache_lock_timeout 30s; proxy_cache_lock_age 30s;
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_cache_valid 200 206 1h; proxy_pass ${job.upstream};`;
  return `${user}daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log warn;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 300s;
  default_type application/octet-stream; open_file_cache max=1000 inactive=300s;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  proxy_cache_path ${folder}/cache levels=1:2 keys_zone=c:32m max_size=64g inactive=1d use_temp_path=off;
  server { listen 127.0.0.1:${port};
    location = /ready { return 200; }
    location / { ${location} } } }
`;
}
