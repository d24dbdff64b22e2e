import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { committee, ranks } from '../../../peer/placement.ts';
import { PIECE_BYTES } from '../../../src/blob/piece.ts';
import { eventually } from '../../support/eventually.ts';
import { MemorySwarm, swarmBlob } from '../../support/peer/memory-swarm.ts';

test('bytes that are not what was vouched for are counted, by what happened and by reason', async () => {
  const lab = new MemorySwarm(2);
  try {
    const blob = lab.addBlob(swarmBlob('spoilt', 2));
    const [holder, reader] = lab.nodes;
    assert.ok(holder !== undefined && reader !== undefined);
    await holder.readAll(blob);
    for (const { bytes } of holder.pieces.values()) bytes.fill(0);
    await reader.readAll(blob);
    assert.ok(reader.has(blob));
    const all = [
      'damselfly_peer_fetches_total{outcome="wrong"}',
      'damselfly_vouchers_refused_total{reason="signature"}',
    ];
    for (const series of all) assert.ok((await reader.metric(series)) > 0, series);
    assert.equal(await reader.metric('damselfly_peer_quarantines_total{reason="wrong"}'), 1);
    assert.equal(await reader.metric('damselfly_members{state="quarantined"}'), 1);
  } finally {
    lab.stop();
  }
});

test('a piece that a proven word contradicts is dropped, and counted once', async () => {
  const lab = new MemorySwarm(2);
  try {
    const blob = lab.addBlob(swarmBlob('dropped', 2));
    const [holder, prover] = lab.nodes;
    assert.ok(holder !== undefined && prover !== undefined);
    const other = Buffer.alloc(PIECE_BYTES, 7);
    await holder.swarm.sink.put(blob, 0, other, createHash('sha256').update(other).digest());
    const parts = [blob.bytes.subarray(0, PIECE_BYTES), blob.bytes.subarray(PIECE_BYTES)];
    for (const [piece, bytes] of parts.entries())
      prover.pieces.set(`${blob.digest}/${piece}`, {
        bytes,
        sha256: createHash('sha256').update(bytes).digest(),
      });
    prover.proven.add(blob.digest);
    prover.swarm.proven(blob);
    await eventually(() => holder.pieces.size === 0);
    const series = 'damselfly_peer_dropped_pieces_total{reason="contradicts-proven"}';
    assert.equal(await holder.metric(series), 1);
  } finally {
    lab.stop();
  }
});

test('what is read of a piece whose first reader shows no progress is counted as hedged once it is read', async () => {
  const lab = new MemorySwarm(2);
  const stuck = Promise.withResolvers<void>();
  try {
    const blob = lab.addBlob(swarmBlob('stuck', 1));
    const [first, second] = lab.nodes;
    assert.ok(first !== undefined && second !== undefined);
    lab.origin.hold = stuck.promise;
    const reads = [first.readAll(blob), second.readAll(blob)];
    const sum = async (series: string): Promise<number> => {
      const all = await Promise.all(lab.nodes.map((node) => node.metric(series)));
      return all.reduce((total, value) => total + value, 0);
    };
    await eventually(async () => (await sum('damselfly_leases_granted_total{kind="hedge"}')) > 0, {
      ...{ timeoutMs: 15_000, what: 'a hedge is granted' },
    });
    const hedged = 'damselfly_hedged_bytes_total{source="origin"}';
    assert.equal(await sum(hedged), 0);
    stuck.resolve();
    await Promise.all(reads);
    await eventually(async () => (await sum(hedged)) === blob.size);
  } finally {
    stuck.resolve();
    lab.stop();
  }
});

test('what a node reads by itself since it can reach nobody of those whom it knew is counted', async () => {
  const alone = 'damselfly_unleased_origin_reads_total{reason="alone"}';
  const lab = new MemorySwarm(2);
  try {
    const [left, gone] = lab.nodes;
    assert.ok(left !== undefined && gone !== undefined);
    const members = lab.nodes
      .map(({ id }) => ({ id, data: [], control: [], zone: '', epoch: 1 }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    let blob = swarmBlob('alone', 3);
    for (let n = 0; ranks(blob.digest, 0, committee(blob.digest, members))[0]?.id !== gone.id; n += 1)
      blob = swarmBlob(`alone ${n}`, 3);
    lab.addBlob(blob);
    await left.read(blob, 0);
    assert.equal(await left.metric(alone), 0);
    // Its planner does not answer: it plans for itself. Then the other one is no member any more.
    lab.kill(gone, false);
    await left.read(blob, 1);
    assert.equal(await left.metric(alone), 1);
    lab.kill(gone, true);
    await left.read(blob, 2);
    assert.equal(await left.metric(alone), 2);
  } finally {
    lab.stop();
  }
});

test('a node that never knew another one is not alone', async () => {
  const lab = new MemorySwarm(1);
  try {
    const blob = lab.addBlob(swarmBlob('single', 1));
    const [only] = lab.nodes;
    assert.ok(only !== undefined);
    await only.read(blob, 0);
    assert.equal(await only.metric('damselfly_unleased_origin_reads_total{reason="alone"}'), 0);
  } finally {
    lab.stop();
  }
});
