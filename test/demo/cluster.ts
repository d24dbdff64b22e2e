import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKeyFile } from '../../peer/identity/network-key.ts';
import { eventually } from '../support/eventually.ts';
import { NodeProcess } from './node-process.ts';

const FIND_TIMEOUT_MS = 30_000;

/** Nodes on this host that are members of one network: one key file, and the first one's address is known to the others. */
export class Cluster {
  readonly nodes: readonly [NodeProcess, ...NodeProcess[]];

  private constructor(nodes: readonly [NodeProcess, ...NodeProcess[]]) {
    this.nodes = nodes;
  }

  /** Returns once each node knows all others. */
  static async start(options: {
    readonly folder: string;
    readonly registryHost: string;
    readonly count: number;
    readonly signal: AbortSignal;
  }): Promise<Cluster> {
    const { folder, registryHost, count, signal } = options;
    await mkdir(folder, { recursive: true });
    const networkKeyFile = join(folder, 'network.key');
    await writeFile(networkKeyFile, generateKeyFile(), { mode: 0o600 });
    const start = (number: number, known: readonly string[]): Promise<NodeProcess> => {
      const peer = {
        networkKeyFile,
        listen: '/ip4/127.0.0.1/tcp/0',
        dataListen: '127.0.0.1:0',
        discovery: { static: known },
      };
      return NodeProcess.start(join(folder, `node-${number}`), registryHost, signal, undefined, { peer });
    };
    const first = await start(1, []);
    const nodes: [NodeProcess, ...NodeProcess[]] = [first];
    try {
      const swarm = (await first.status(signal)).peers;
      if (swarm === null) throw new Error('node 1 has a network key, and yet its peers are off');
      const started = await Promise.allSettled(
        Array.from({ length: count - 1 }, (_, index) => start(index + 2, swarm.listen.control)),
      );
      for (const result of started) if (result.status === 'fulfilled') nodes.push(result.value);
      for (const result of started) if (result.status === 'rejected') throw result.reason;
      await eventually(() => knowEachOther(nodes, signal), {
        timeoutMs: FIND_TIMEOUT_MS,
        everyMs: 50,
        what: 'every node knows all others',
      });
      return new Cluster(nodes);
    } catch (error) {
      await stopAll(nodes);
      throw error;
    }
  }

  async stop(): Promise<void> {
    await stopAll(this.nodes);
  }
}

async function knowEachOther(nodes: readonly NodeProcess[], signal: AbortSignal): Promise<boolean> {
  const all = await Promise.all(nodes.map((node) => node.status(signal)));
  return all.every(({ peers }) => peers?.totals.live === nodes.length - 1);
}

async function stopAll(nodes: readonly NodeProcess[]): Promise<void> {
  await Promise.all(nodes.map((node) => node.stop()));
}
