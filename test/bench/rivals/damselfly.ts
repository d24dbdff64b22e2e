import { fileURLToPath } from 'node:url';
import { NodeProcess } from '../../demo/node-process.ts';
import type { Scope } from '../../e2e/support/scope.ts';
import { OURS } from '../stage.ts';
import { killTree, type RestartableRival } from './rival.ts';

/** What users run; the sources need more memory for their types. */
const BUILT = fileURLToPath(new URL('../../../dist/src/main.js', import.meta.url));

const running = new Set<NodeProcess>();
// Nothing outlives this process, however that ends.
process.on('exit', () => {
  for (const node of running) killTree(node.pid);
});

/** The built node in a folder that it keeps over restarts; its port is another one after each. */
export class Damselfly implements RestartableRival {
  readonly name = OURS;
  readonly #folder: string;
  readonly #originHost: string;
  readonly #signal: AbortSignal;
  readonly #main: string;
  #node: NodeProcess | undefined;

  private constructor(folder: string, originHost: string, signal: AbortSignal, main: string) {
    this.#folder = folder;
    this.#originHost = originHost;
    this.#signal = signal;
    this.#main = main;
  }

  static async start(
    stage: { readonly scope: Scope; readonly signal: AbortSignal },
    originHost: string,
  ): Promise<Damselfly> {
    const main = process.env.BENCH_DAMSELFLY ?? BUILT;
    const one = new Damselfly(await stage.scope.folder('node'), originHost, stage.signal, main);
    stage.scope.defer(() => one.stop());
    await one.start();
    return one;
  }

  get url(): string {
    return this.#running.url;
  }

  get pid(): number {
    return this.#running.pid;
  }

  async start(): Promise<void> {
    this.#node = await NodeProcess.start(this.#folder, this.#originHost, this.#signal, this.#main);
    running.add(this.#node);
  }

  async stop(): Promise<void> {
    const node = this.#node;
    this.#node = undefined;
    if (node === undefined) return;
    await node.stop();
    running.delete(node);
  }

  async kill(): Promise<void> {
    if (this.#node !== undefined) killTree(this.#node.pid);
    await this.stop();
  }

  get #running(): NodeProcess {
    if (this.#node === undefined) throw new Error('the node was not started');
    return this.#node;
  }
}
