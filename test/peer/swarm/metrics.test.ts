import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
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

test('a second read of a piece whose first reader shows no progress is counted as a hedge', async () => {
  const lab = new MemorySwarm(2);
  const stuck = Promise.withResolvers<void>();
  try {
    const blob = lab.addBlob(swarmBlob('stuck', 1));
    const [first, second] = lab.nodes;
    assert.ok(first !== undefined && second !== undefined);
    lab.origin.hold = stuck.promise;
    const reads = [first.readAll(blob), second.readAll(blob)];
    const hedges = async (): Promise<number> => {
      const all = await Promise.all(
        lab.nodes.map((node) => node.metric('damselfly_hedged_bytes_total{source="origin"}')),
      );
      return all.reduce((sum, bytes) => sum + bytes, 0);
    };
    await eventually(async () => (await hedges()) > 0, { timeoutMs: 15_000, what: 'a hedge is counted' });
    stuck.resolve();
    await Promise.all(reads);
  } finally {
    stuck.resolve();
    lab.stop();
  }
});
