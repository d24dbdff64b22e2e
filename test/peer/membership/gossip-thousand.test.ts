import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_LINKS } from '../../../peer/membership/partners.ts';
import type { SimNode } from './sim-network.ts';
import { forget, say, swarm, traffic } from './sim-swarm.ts';

describe('Gossip among 1,000', () => {
  it('is as quick as among few, with few links and a bounded traffic', async (t) => {
    const { net, nodes, joinedMs } = await swarm(1_000, 13);
    const start = traffic(nodes, 1);
    t.diagnostic(
      `known to each other after ${joinedMs} ms, by ${Math.round(start.mean)} bytes sent per node`,
    );
    assert.ok(joinedMs <= 2_000, `${joinedMs} ms`);
    assert.ok(start.mean < 1_000_000);
    await net.pass(500);
    forget(nodes);
    const killed = nodes[500] as SimNode;
    net.kill(killed);
    const goneMs = await net.until(() => net.agrees(), 10_000, 1_000);
    t.diagnostic(`one that was killed is gone after ${goneMs} ms`);
    const perSecond = traffic(nodes, goneMs / 1_000);
    say(t, '1,000 members', perSecond);
    assert.ok(perSecond.mean < 15_000);
    const links = nodes.map((node) => node.gossip.links().length);
    assert.ok(Math.max(...links) <= MAX_LINKS + 3, `${Math.max(...links)} links`);
  });
});
