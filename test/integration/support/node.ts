import { loadConfig } from '../../../config/load.ts';
import { type Daemon, type DaemonOptions, startDaemon } from '../../../src/daemon.ts';
import { silentLogger } from '../../../src/observe/log.ts';

export interface TestNode extends Daemon, AsyncDisposable {
  /** `http://host:port` of the proxy port. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
}

/** A node in this process, on free ports, with its cache in `dir`. `set` are configuration keys as for `--set`. */
export async function startNode(
  dir: string,
  set: readonly string[] = [],
  options: Pick<DaemonOptions, 'disk'> = {},
): Promise<TestNode> {
  const own = [
    `cache.dir=${dir}`,
    'proxy.listen=127.0.0.1:0',
    'admin.listen=127.0.0.1:0',
    'metrics.listen=127.0.0.1:0',
    'cache.minFree=0',
    'log.level=silent',
  ];
  const { config, warnings } = loadConfig({
    env: {},
    set: [...own, ...set],
    defaultFile: '/nonexistent/damselfly.yaml',
  });
  const daemon = await startDaemon(config, { ...options, version: 'test', log: silentLogger, warnings });
  const address = daemon.addresses.proxy[0] ?? '';
  const port = Number(address.slice(address.lastIndexOf(':') + 1));
  return {
    ...daemon,
    url: `http://127.0.0.1:${port}`,
    host: '127.0.0.1',
    port,
    [Symbol.asyncDispose]: () => daemon.stop(),
  };
}
