import type { SwarmStatus } from '../../../peer/status.ts';
import { eventually } from '../../support/eventually.ts';
import { httpGet } from '../../support/http-get.ts';
import { TempFolder } from '../../support/temp-folder.ts';
import { startNode, type TestNode } from './node.ts';

/** Nodes in this process that know each other. */
export class TestSwarm implements AsyncDisposable {
  readonly nodes: TestNode[] = [];
  readonly #folders: TempFolder[] = [];
  readonly #set: readonly string[];

  private constructor(set: readonly string[]) {
    this.#set = set;
  }

  /** @param set configuration of all of them, as for `--set`. */
  static async start(count: number, set: readonly string[]): Promise<TestSwarm> {
    const swarm = new TestSwarm(set);
    try {
      for (let n = 0; n < count; n += 1) await swarm.add();
      await swarm.settled();
      return swarm;
    } catch (error) {
      await swarm[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** One more, which is told of the first. */
  async add(set: readonly string[] = []): Promise<TestNode> {
    const folder = await TempFolder.make();
    this.#folders.push(folder);
    return await this.startIn(folder.file('cache'), set);
  }

  async startIn(dir: string, set: readonly string[] = []): Promise<TestNode> {
    const [first] = this.nodes;
    const known = first === undefined ? [] : ((await swarmStatus(first))?.listen.control ?? []);
    const node = await startNode(dir, [
      'peer.enabled=true',
      'peer.insecure=true',
      'peer.listen=/ip4/127.0.0.1/tcp/0',
      'peer.dataListen=127.0.0.1:0',
      `peer.discovery.static=${JSON.stringify(known)}`,
      ...this.#set,
      ...set,
    ]);
    this.nodes.push(node);
    return node;
  }

  node(index: number): TestNode {
    const node = this.nodes[index];
    if (node === undefined) throw new RangeError(`there is no node ${index}`);
    return node;
  }

  /** Everybody knows everybody. */
  async settled(): Promise<void> {
    await eventually(
      async () => {
        const states = await Promise.all(this.nodes.map(swarmStatus));
        return states.every((status) => status?.memberCount === this.nodes.length - 1);
      },
      { timeoutMs: 20_000, everyMs: 50, what: 'all nodes know each other' },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.nodes.map((node) => node.stop()));
    await Promise.all(this.#folders.map((folder) => folder.remove()));
  }
}

export async function swarmStatus(node: TestNode): Promise<SwarmStatus | null> {
  const answer = await httpGet(`http://${node.addresses.admin[0]}/api/v1/status`);
  return (answer.json() as { peers: SwarmStatus | null }).peers;
}
