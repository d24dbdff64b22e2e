import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addBlob, costOf, MIB, readRight, readThrough } from '../../fault/support/reads.ts';
import { startOrigin } from '../../support/origin.ts';
import { listing } from '../support/setup.ts';
import { TestSwarm } from '../support/swarm.ts';

for (const transport of ['tls', 'libp2p', 'auto']) {
  test(`what one node has read, the others read from it (${transport})`, async () => {
    await using origin = await startOrigin();
    await using swarm = await TestSwarm.start(3, [...listing(origin), `peer.transport=${transport}`]);
    const blob = addBlob(origin, 'shared', 20 * MIB + 5);
    assert.equal(await costOf(origin, blob, () => readThrough(swarm.node(0).url, blob)), 1);
    assert.equal(await costOf(origin, blob, () => readThrough(swarm.node(1).url, blob)), 0);
    assert.equal(await costOf(origin, blob, () => readThrough(swarm.node(2).url, blob, MIB)), 0);
  });
}

test('all want one cold blob at once: the origin is read once', async () => {
  await using origin = await startOrigin();
  await using swarm = await TestSwarm.start(4, listing(origin));
  const blob = addBlob(origin, 'crowd', 40 * MIB + 5);
  const cost = await costOf(origin, blob, () =>
    Promise.all(swarm.nodes.map((node) => readRight(node.url, blob))),
  );
  assert.ok(cost <= 1.05, `${cost} times`);
});
