import type { TestContext } from 'node:test';
import { SimNetwork, type SimNode } from './sim-network.ts';

/** Everybody starts at once and meets two others, as discovery would have it. */
export async function swarm(
  count: number,
  seed: number,
): Promise<{ net: SimNetwork; nodes: SimNode[]; joinedMs: number }> {
  const net = new SimNetwork(seed, count <= 100);
  const nodes = Array.from({ length: count }, (_, i) => net.add(`node-${i}`));
  for (const node of nodes) {
    for (let i = 0; i < 2; i += 1) {
      const other = nodes[net.random.integer(0, count)];
      if (other !== undefined && other !== node) void net.dial(node, other.id);
    }
  }
  // Looking at a thousand tables is work as well.
  const joinedMs = await net.until(() => net.agrees(), 30_000, count > 100 ? 150 : 50);
  return { net, nodes, joinedMs };
}

export function traffic(nodes: readonly SimNode[], seconds: number): { mean: number; max: number } {
  const sent = nodes.map((node) => node.sentBytes / seconds);
  return { mean: sent.reduce((sum, bytes) => sum + bytes, 0) / sent.length, max: Math.max(...sent) };
}

export function forget(nodes: readonly SimNode[]): void {
  for (const node of nodes)
    Object.assign(node, { sentBytes: 0, sentMessages: 0, dials: 0, reaches: 0, changes: 0 });
}

export function say(t: TestContext, what: string, value: { mean: number; max: number }): void {
  t.diagnostic(`${what}: ${Math.round(value.mean)} B/s per node, at most ${Math.round(value.max)}`);
}
