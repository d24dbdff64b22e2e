import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { StatusDocument } from '../../src/admin/status-document.ts';
import { httpGet } from '../support/http-get.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;

/** A node as anybody starts it: `damselfly serve -c FILE`, in a folder of its own. */
export class NodeProcess {
  /** `127.0.0.1:41234` of the proxy, the status API and the metrics. */
  readonly proxyHost: string;
  readonly adminHost: string;
  readonly metricsHost: string;
  readonly configFile: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, configFile: string, hosts: ReadonlyMap<string, string>) {
    const host = (name: string): string => {
      const found = hosts.get(name);
      if (found === undefined) throw new Error(`the node did not say where its ${name} listens`);
      return found;
    };
    this.#child = child;
    this.configFile = configFile;
    this.proxyHost = host('proxy');
    this.adminHost = host('admin');
    this.metricsHost = host('metrics');
  }

  /**
   * @param main what is run: the sources unless given.
   * @param settings sections of the configuration that are added.
   */
  static async start(
    folder: string,
    registryHost: string,
    signal: AbortSignal,
    main = MAIN,
    settings: Readonly<Record<string, unknown>> = {},
  ): Promise<NodeProcess> {
    await mkdir(folder, { recursive: true });
    const configFile = join(folder, 'damselfly.yaml');
    const logFile = join(folder, 'damselfly.log');
    // JSON is YAML.
    const config = {
      proxy: { listen: '127.0.0.1:0', defaultOrigin: `http://${registryHost}` },
      origins: [{ host: registryHost, insecure: true }],
      cache: { dir: join(folder, 'cache') },
      admin: { listen: '127.0.0.1:0' },
      metrics: { listen: '127.0.0.1:0' },
      log: { level: 'warn' },
      ...settings,
    };
    await writeFile(configFile, `${JSON.stringify(config, null, 2)}\n`);
    const log = openSync(logFile, 'a');
    const child = spawn(process.execPath, [main, 'serve', '-c', configFile], {
      stdio: ['ignore', 'pipe', log],
      env: withoutOwnSettings(process.env),
    });
    closeSync(log);
    try {
      const hosts = await announcedHosts(
        child,
        AbortSignal.any([signal, AbortSignal.timeout(START_TIMEOUT_MS)]),
      );
      return new NodeProcess(child, configFile, hosts);
    } catch (error) {
      child.kill('SIGKILL');
      const said = readFileSync(logFile, 'utf8').trim().split('\n').slice(-15).join('\n');
      throw new Error(`the node did not start\n${said}`, { cause: error });
    }
  }

  get url(): string {
    return `http://${this.proxyHost}`;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async status(signal: AbortSignal): Promise<StatusDocument> {
    const answer = await httpGet(`http://${this.adminHost}/api/v1/status`, { signal });
    return answer.json() as StatusDocument;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await exit;
    clearTimeout(late);
  }
}

/** The demo shows the same on every machine, whatever its user has configured. */
function withoutOwnSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('DAMSELFLY_')));
}

/** Reads `  proxy    127.0.0.1:41234` and the like from what `serve` prints once it listens. */
async function announcedHosts(child: ChildProcess, signal: AbortSignal): Promise<Map<string, string>> {
  if (child.stdout === null) throw new Error('no stdout');
  const hosts = new Map<string, string>();
  const lines = createInterface({ input: child.stdout });
  const complete = Promise.withResolvers<void>();
  lines.on('line', (line) => {
    const [, name, host] = /^\s+(\w+)\s+(\S+:\d+)/.exec(line) ?? [];
    if (name === undefined || host === undefined) return;
    hosts.set(name, host);
    if (['proxy', 'admin', 'metrics'].every((known) => hosts.has(known))) complete.resolve();
  });
  const ended = once(child, 'exit', { signal }).then(([code, killer]) => {
    throw new Error(`it ended (${killer ?? code})`);
  });
  await Promise.race([complete.promise, ended]);
  // From here on an exit is no error of the start.
  ended.catch(() => undefined);
  return hosts;
}
