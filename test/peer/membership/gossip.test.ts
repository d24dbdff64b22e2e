import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PeerId } from '../../../peer/member.ts';
import { MAX_LINKS } from '../../../peer/membership/partners.ts';
import { SimNetwork, type SimNode } from './sim-network.ts';
import { forget, say, swarm, traffic } from './sim-swarm.ts';

const NEVER_PASSES = (): boolean => false;

function isSeen(nodes: readonly SimNode[], id: PeerId, state: 'live' | 'suspect' | 'gone'): boolean {
  return nodes.every((node) => node.gossip.table.entry(id)?.state === state);
}

describe('Gossip', () => {
  it('makes 50 that start at once known to each other within two seconds', async (t) => {
    const { joinedMs, nodes } = await swarm(50, 1);
    t.diagnostic(`after ${joinedMs} ms`);
    assert.ok(joinedMs <= 2_000, `${joinedMs} ms`);
    assert.ok(nodes.every((node) => node.gossip.links().length >= 3));
  });

  it('costs little when nothing happens, and keeps few links', async (t) => {
    const { net, nodes } = await swarm(200, 2);
    await net.pass(10_000);
    forget(nodes);
    await net.pass(30_000);
    const perSecond = traffic(nodes, 30);
    say(t, '200 idle members', perSecond);
    // A heartbeat of each other member every 3 s, by about half of six links, 11 bytes each: 2.2 kB/s.
    assert.ok(perSecond.mean < 3_000);
    assert.ok(perSecond.max < 8_000);
    assert.ok(nodes.every((node) => node.gossip.links().length <= MAX_LINKS + 2));
    const dials = nodes.reduce((sum, node) => sum + node.dials, 0) / nodes.length;
    assert.ok(dials < 1.5, `${dials} dials per node in half a minute`);
    assert.equal(
      nodes.reduce((sum, node) => sum + node.reaches, 0),
      0,
      'nobody has to be looked for',
    );
    assert.ok(net.agrees());
  });

  it('tells of one that comes and of one that says goodbye within a second', async () => {
    const { net, nodes } = await swarm(50, 3);
    await net.pass(5_000);
    const late = net.add('late');
    void net.dial(late, 'node-7' as PeerId);
    const joinMs = await net.until(() => net.agrees(), 10_000, 10);
    assert.ok(joinMs <= 1_000, `joined after ${joinMs} ms`);
    await net.leave(nodes[3] as SimNode);
    const leaveMs = await net.until(() => net.agrees(), 10_000, 10);
    assert.ok(leaveMs <= 1_000, `left after ${leaveMs} ms`);
  });

  it('suspects one that was killed within a second, and drops it within six', async () => {
    const { net, nodes } = await swarm(50, 4);
    await net.pass(5_000);
    const killed = nodes[10] as SimNode;
    net.kill(killed);
    const others = nodes.filter((node) => node !== killed);
    const suspectMs = await net.until(() => isSeen(others, killed.id, 'suspect'), 5_000, 10);
    assert.ok(suspectMs <= 1_000, `suspect after ${suspectMs} ms`);
    const goneMs = await net.until(() => net.agrees(), 10_000);
    assert.ok(suspectMs + goneMs <= 6_000, `gone after ${suspectMs + goneMs} ms`);
  });

  it('drops one that is stopped, and takes it back as soon as it goes on, without a storm', async () => {
    const { net, nodes } = await swarm(30, 5);
    await net.pass(5_000);
    const stopped = nodes[0] as SimNode;
    const others = nodes.slice(1);
    net.stop(stopped);
    await net.until(() => isSeen(others, stopped.id, 'gone'), 30_000);
    assert.ok(net.agrees(others), 'and nobody else');
    await net.pass(60_000);
    forget(nodes);
    net.resume(stopped);
    const backMs = await net.until(() => net.agrees(), 10_000);
    assert.ok(backMs <= 5_000, `back after ${backMs} ms`);
    await net.pass(20_000);
    assert.ok(net.agrees());
    // Those whose links broke meanwhile.
    assert.ok(stopped.reaches <= 12, `it looked for ${stopped.reaches}, though it was stopped itself`);
  });

  it('falls apart by a partition and together again, from one contact', async () => {
    const { net, nodes } = await swarm(40, 6);
    await net.pass(5_000);
    const left = new Set(nodes.slice(0, 15).map((node) => node.id));
    net.passes = (a, b) => left.has(a) === left.has(b);
    const sides = [nodes.slice(0, 15), nodes.slice(15)];
    const apartMs = await net.until(() => sides.every((side) => net.agrees(side)), 60_000);
    assert.ok(apartMs <= 40_000, `apart after ${apartMs} ms`);
    await net.pass(60_000);
    net.passes = () => true;
    void net.dial(nodes[0] as SimNode, (nodes[39] as SimNode).id);
    const togetherMs = await net.until(() => net.agrees(), 30_000);
    assert.ok(togetherMs <= 3_000, `together after ${togetherMs} ms`);
  });

  it('lets a node that is cut off see itself alone, and come back', async () => {
    const { net, nodes } = await swarm(10, 7);
    await net.pass(5_000);
    const alone = nodes[4] as SimNode;
    net.passes = (a, b) => a !== alone.id && b !== alone.id;
    await net.until(() => net.agrees([alone]) && net.agrees(nodes.filter((node) => node !== alone)), 60_000);
    net.passes = () => true;
    void net.dial(alone, (nodes[0] as SimNode).id);
    await net.until(() => net.agrees(), 5_000);
  });

  it('does not drop one that only one other cannot reach', async () => {
    const { net, nodes } = await swarm(12, 8);
    await net.pass(5_000);
    const [a, b] = nodes as [SimNode, SimNode];
    net.passes = (from, to) => !((from === a.id && to === b.id) || (from === b.id && to === a.id));
    a.gossip.detector.doubt(b.id);
    await net.pass(60_000);
    assert.ok(net.agrees());
  });

  it('is not misled by clocks that are an hour apart, also when one is set back between two starts', async () => {
    const net = new SimNetwork(9);
    const ahead = net.add('ahead', { epoch: 4_600_000 });
    const behind = net.add('behind', { epoch: 1_000_000 });
    const third = net.add('third', { epoch: 1_000 });
    void net.dial(ahead, behind.id);
    void net.dial(third, behind.id);
    await net.until(() => net.agrees(), 5_000);
    net.kill(ahead);
    await net.pass(2_000);
    const again = net.add('ahead', { epoch: 1_000_500 });
    void net.dial(again, third.id);
    await net.until(
      () => net.agrees() && (third.gossip.table.entry(again.id)?.member.epoch ?? 0) > 4_600_000,
      10_000,
    );
    assert.equal(again.gossip.table.self.member.epoch, 4_600_001);
  });

  it('restarts all at once', async () => {
    const { net, nodes } = await swarm(20, 10);
    for (const node of nodes) net.kill(node);
    const again = nodes.map((node) => net.add(node.id, { epoch: 2_000 }));
    for (const node of again) void net.dial(node, (again[0] as SimNode).id);
    const backMs = await net.until(() => net.agrees(), 10_000);
    assert.ok(backMs <= 3_000, `known after ${backMs} ms`);
  });

  it('does not answer a twin of its identity without end', async () => {
    const { net, nodes } = await swarm(6, 11);
    await net.pass(3_000);
    // Two processes with one key: the network hands each of them the other's rows.
    const victim = nodes[0] as SimNode;
    forget(nodes);
    for (let i = 0; i < 100; i += 1) {
      const { signed } = victim.gossip.table.self;
      const row = { ...signed.row, epoch: signed.row.epoch + 5 };
      victim.gossip.table.merge({ state: 'live', signed: { ...signed, row } }, net.nowMs);
      await net.pass(100);
    }
    assert.ok(victim.gossip.table.outbids <= 11, `${victim.gossip.table.outbids} answers in ten seconds`);
    assert.ok(victim.gossip.table.outbids >= 5);
  });

  it('sends most of a crowd elsewhere, and still everybody knows everybody', async (t) => {
    const net = new SimNetwork(12, false);
    const seed = net.add('seed');
    const crowd = Array.from({ length: 150 }, (_, i) => net.add(`crowd-${i}`));
    for (const node of crowd) void net.dial(node, seed.id);
    const joinedMs = await net.until(() => net.agrees(), 30_000);
    t.diagnostic(`150 that know only one: ${joinedMs} ms, ${seed.sentBytes} bytes sent by it`);
    assert.ok(joinedMs <= 8_000, `${joinedMs} ms`);
    assert.ok(seed.sentBytes < 4_000_000);
    await net.pass(5_000);
    assert.ok(seed.gossip.links().length <= MAX_LINKS + 2);
  });

  it('gives up links that are silent', async () => {
    const { net, nodes } = await swarm(4, 14);
    await net.pass(5_000);
    net.passes = NEVER_PASSES;
    await net.pass(12_000);
    assert.ok(nodes.every((node) => node.gossip.links().length === 0));
  });
});
