import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StatusDocument } from '../../../src/admin/status-document.ts';
import type { Span } from '../../../src/blob/span.ts';
import { cpuSeconds, peakMiB } from '../../bench/measure.ts';
import { eventually } from '../eventually.ts';
import { GroupProcess } from '../group-process.ts';
import { seededDigest } from '../origin/content.ts';
import type { Agent } from './agent.ts';
import { MetricSamples } from './metric-samples.ts';
import { PORTS } from './node-config.ts';
import type { Place } from './place.ts';
import type { ReadOutcome } from './read-job.ts';

const CLOCK_SKEW = new URL('clock-skew.ts', import.meta.url).href;
const POLL_MS = 50;

export interface NodeSpec {
  readonly name: string;
  readonly zone: string | undefined;
  readonly place: Place;
  readonly folder: string;
  /** What is in damselfly.yaml. */
  readonly config: string;
  readonly cacheDir: string;
  /** What is run: the sources, or the built node. */
  readonly main: string;
  readonly clockSkewMs: number;
  readonly env: Readonly<Record<string, string>>;
  readonly startTimeoutMs: number;
}

export interface ReadRequest {
  readonly blob: { readonly path: string; readonly size: number; readonly seed: number | string };
  /** Default: the whole blob in one GET. See `ReadJob.lanes`. */
  readonly lanes?: readonly (readonly (Span | null)[])[];
  /** Milliseconds of the epoch; default: now. */
  readonly startAtMs?: number;
  readonly timeoutMs: number;
}

/** A node of a cluster: `damselfly serve` in a process group of its own, with a folder and ports that it keeps. */
export class ClusterNode {
  readonly name: string;
  readonly zone: string | undefined;
  readonly address: string;
  readonly cacheDir: string;
  readonly agent: Agent;
  readonly #spec: NodeSpec;
  #process: GroupProcess | undefined;

  constructor(spec: NodeSpec, agent: Agent) {
    this.name = spec.name;
    this.zone = spec.zone;
    this.address = spec.place.address;
    this.cacheDir = spec.cacheDir;
    this.agent = agent;
    this.#spec = spec;
    mkdirSync(spec.folder, { recursive: true });
    writeFileSync(this.#configFile, spec.config);
  }

  /** Of the proxy; within the node's own network. */
  get url(): string {
    return `http://${this.address}:${PORTS.proxy}`;
  }

  get pid(): number {
    return this.#running.pid;
  }

  get isAlive(): boolean {
    return this.#process?.isAlive ?? false;
  }

  /** Starts it, also again, with what is in its folder; resolves once it is healthy. */
  async start(): Promise<void> {
    if (this.isAlive) throw new Error(`${this.name} is running`);
    const { clockSkewMs, env, main, place, startTimeoutMs } = this.#spec;
    const skewed = clockSkewMs === 0 ? [] : ['--import', CLOCK_SKEW];
    const log = openSync(this.#logFile, 'a');
    const started = new GroupProcess(
      [
        ...place.enter,
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        ...skewed,
        main,
        'serve',
        '-c',
        this.#configFile,
      ],
      {
        stdio: ['ignore', log, log],
        env: { ...withoutOwnSettings(process.env), ...env, TEST_CLOCK_SKEW_MS: String(clockSkewMs) },
      },
    );
    closeSync(log);
    this.#process = started;
    try {
      await eventually(async () => !started.isAlive || (await this.isHealthy()), {
        timeoutMs: startTimeoutMs,
        everyMs: POLL_MS,
        what: `${this.name} is healthy`,
      });
      if (!started.isAlive) throw new Error(`${this.name} ended at once`);
    } catch (error) {
      await started.kill();
      const said = (await this.log()).trim().split('\n').slice(-15).join('\n');
      throw new Error(`${(error as Error).message}; it printed:\n${said}`, { cause: error });
    }
  }

  /** SIGTERM, and waits for its end. */
  async stop(): Promise<void> {
    await this.#process?.stop();
  }

  /** kill -9, and waits for its end. */
  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  /** SIGSTOP: its sockets stay open, and nothing is answered. */
  freeze(): void {
    this.#running.signal('SIGSTOP');
  }

  /** SIGCONT. */
  thaw(): void {
    this.#running.signal('SIGCONT');
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async isHealthy(): Promise<boolean> {
    try {
      return (await this.agent.fetch(this.#adminUrl('/healthy'), 2_000)).status === 200;
    } catch {
      return false;
    }
  }

  async status(): Promise<StatusDocument> {
    return JSON.parse(await this.#get(this.#adminUrl('/api/v1/status'))) as StatusDocument;
  }

  async metrics(): Promise<MetricSamples> {
    return MetricSamples.parse(await this.#get(`http://${this.address}:${PORTS.metrics}/metrics`));
  }

  /** CPU seconds of the process so far, and the most memory that it had. */
  usage(): { readonly cpuSeconds: number; readonly peakMiB: number } {
    return { cpuSeconds: cpuSeconds(this.pid), peakMiB: peakMiB(this.pid) };
  }

  /** Reads a seeded blob through the node, by the client beside it, and checks every byte that came. */
  async read({
    blob,
    lanes = [[null]],
    startAtMs = Date.now(),
    timeoutMs,
  }: ReadRequest): Promise<ReadOutcome> {
    const { path, seed, size } = blob;
    const job = { url: this.url + path, blob: { size, seed }, lanes, startAtMs, timeoutMs };
    const outcome = await this.agent.read(job);
    // Also of a read that was cut: what came must be the blob's beginning.
    const wrong = outcome.wholes.filter((whole) => whole.digest !== seededDigest(seed, whole.bytes));
    return { ...outcome, wrongBytes: wrong.reduce((sum, whole) => sum + whole.bytes, outcome.wrongBytes) };
  }

  async log(): Promise<string> {
    return await readFile(this.#logFile, 'utf8');
  }

  get #running(): GroupProcess {
    if (this.#process === undefined) throw new Error(`${this.name} was not started`);
    return this.#process;
  }

  get #configFile(): string {
    return join(this.#spec.folder, 'damselfly.yaml');
  }

  get #logFile(): string {
    return join(this.#spec.folder, 'damselfly.log');
  }

  #adminUrl(path: string): string {
    return `http://${this.address}:${PORTS.admin}${path}`;
  }

  async #get(url: string): Promise<string> {
    const { body, status } = await this.agent.fetch(url);
    if (status !== 200) throw new Error(`${url}: status ${status}, ${body.slice(0, 300)}`);
    return body;
  }
}

/** The same on every machine, whatever its user has configured. */
function withoutOwnSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('DAMSELFLY_')));
}
