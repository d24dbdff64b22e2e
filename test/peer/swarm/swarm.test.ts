import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { committee, ranks } from '../../../peer/placement.ts';
import { realmOf } from '../../../peer/realm.ts';
import { PIECE_BYTES, pieceLength } from '../../../src/blob/piece.ts';
import { Urgency } from '../../../src/blob/urgency.ts';
import { OriginRefusal } from '../../../src/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { MemorySwarm, type SwarmBlob, swarmBlob, UPSTREAM } from '../../support/peer/memory-swarm.ts';

test('eight nodes that want one blob at once read it once from the origin', async () => {
  const lab = new MemorySwarm(8);
  try {
    const blob = lab.addBlob(swarmBlob('crowd', 20));
    await Promise.all(lab.nodes.map((node) => node.readAll(blob)));
    for (const node of lab.nodes) assert.ok(node.has(blob));
    assert.equal(lab.origin.sentBytes, blob.size);
    const received = lab.nodes.reduce((sum, node) => sum + node.receivedBytes, 0);
    // On a busy machine some pieces are asked of a second holder, and come twice.
    assert.ok(received >= 7 * blob.size && received <= 8 * blob.size, `${received} bytes`);
    for (const node of lab.nodes) {
      assert.equal(await node.metric('damselfly_unleased_origin_reads_total{reason="silent"}'), 0);
      assert.equal(node.swarm.status().planning.leases, 0, 'a lease is left over');
      assert.equal(node.swarm.status().transfers.length, 0);
    }
  } finally {
    lab.stop();
  }
});

test('a node alone reads from the origin, and gives to whoever comes later', async () => {
  const lab = new MemorySwarm(1);
  try {
    const blob = lab.addBlob(swarmBlob('later', 3));
    const [first] = lab.nodes;
    await first?.readAll(blob);
    assert.equal(lab.origin.sentBytes, blob.size);
    const second = lab.add();
    // What was read before there was anybody is announced once there is.
    await eventually(() => lab.nodes.some((node) => node.swarm.status().planning.segments > 0));
    await second.readAll(blob);
    assert.ok(second.has(blob));
    assert.equal(lab.origin.sentBytes, blob.size);
  } finally {
    lab.stop();
  }
});

test('a holder that is gone without a word costs one read of its pieces', async () => {
  const lab = new MemorySwarm(4);
  try {
    const blob = lab.addBlob(swarmBlob('gone', 4));
    const holder = lab.nodes.find(({ id }) => id !== undefined);
    assert.ok(holder !== undefined);
    await holder.readAll(blob);
    lab.kill(holder, false);
    const reader = lab.nodes.find((node) => node !== holder);
    await reader?.readAll(blob);
    assert.ok(reader?.has(blob));
    assert.ok(lab.origin.sentBytes <= 2 * blob.size, `${lab.origin.sentBytes} bytes`);
  } finally {
    lab.stop();
  }
});

test('what a holder has lost is withdrawn, and read elsewhere', async () => {
  const lab = new MemorySwarm(3);
  try {
    const blob = lab.addBlob(swarmBlob('lost', 2));
    const [first, second] = lab.nodes;
    await first?.readAll(blob);
    for (const key of [...(first?.pieces.keys() ?? [])]) first?.pieces.delete(key);
    first?.swarm.lost(blob, 0);
    await second?.readAll(blob);
    assert.ok(second?.has(blob));
    assert.equal(lab.origin.sentBytes, 2 * blob.size);
  } finally {
    lab.stop();
  }
});

test('a reader that hangs up leaves nothing behind', async () => {
  const lab = new MemorySwarm(2);
  try {
    const blob = lab.addBlob(swarmBlob('hung up', 2));
    const held = Promise.withResolvers<void>();
    lab.origin.hold = held.promise;
    const [first, second] = lab.nodes;
    const abort = new AbortController();
    const reads = [first?.read(blob, 0), second?.read(blob, 0, abort.signal)];
    await eventually(() => lab.nodes.some((node) => node.swarm.status().planning.leases > 0));
    abort.abort(new Error('hung up'));
    held.resolve();
    const [one, other] = await Promise.allSettled(reads);
    // Whichever of the two had the lease, the one that stayed has its piece.
    assert.equal(one?.status, 'fulfilled');
    if (other?.status === 'rejected') assert.match(String(other.reason), /hung up/);
    await eventually(() => lab.nodes.every((node) => node.swarm.status().planning.leases === 0));
    assert.ok(lab.origin.sentBytes <= 2 * PIECE_BYTES);
  } finally {
    lab.stop();
  }
});

test('wrong bytes of a member are not taken once anybody has proven the blob, and the liar is cut off', async () => {
  const lab = new MemorySwarm(4);
  try {
    const blob = lab.addBlob(swarmBlob('liar', 3));
    const [liar, prover, reader] = lab.nodes;
    assert.ok(liar && prover && reader);
    await liar.readAll(blob);
    // It signs for other bytes than it read.
    const forged = Buffer.alloc(PIECE_BYTES, 7);
    const sha256 = createHash('sha256').update(forged).digest();
    liar.pieces.delete(`${blob.digest}/1`);
    await liar.swarm.sink.put(blob, 1, forged, sha256);
    for (let piece = 0; piece < 3; piece += 1) {
      // The prover reads from the origin, as before it had any peers.
      const start = piece * PIECE_BYTES;
      const bytes = blob.bytes.subarray(start, Math.min(start + PIECE_BYTES, blob.size));
      await prover.swarm.sink.put(blob, piece, bytes, createHash('sha256').update(bytes).digest());
    }
    prover.proven.add(blob.digest);
    prover.swarm.proven(blob);
    await eventually(async () => !liar.has(blob) && (await reader.metric('damselfly_planner_segments')) >= 0);
    await reader.readAll(blob);
    assert.ok(reader.has(blob), 'wrong bytes were taken');
  } finally {
    lab.stop();
  }
});

for (const [which, first] of [
  ['a planner that was told of the proof', 0],
  ['a planner that has to ask for it', 2],
] as const) {
  test(`whoever is sent to a liar for proven pieces has heard before what is right (${which})`, async () => {
    const lab = new MemorySwarm(4);
    try {
      const [prover, liar, reader] = lab.nodes;
      assert.ok(prover && liar && reader);
      const blob = lab.addBlob(blobPlannedBy(lab, [first, first === 0 ? 3 : 0]));
      // As if it had not been there yet.
      reader.isDown = first === 2;
      await prover.readAll(blob);
      prover.proven.add(blob.digest);
      prover.swarm.proven(blob);
      await eventually(async () => (await prover.metric('damselfly_planner_segments')) > 0);
      reader.isDown = false;
      // It says that it has the pieces, and signs for others only to those who ask for them.
      const realm = realmOf(UPSTREAM.origin);
      for (let piece = 0; piece < 12; piece += 1) {
        const bytes = Buffer.alloc(pieceLength(piece, blob.size), 7);
        const sha256 = createHash('sha256').update(bytes).digest();
        liar.pieces.set(`${blob.digest}/${piece}`, { bytes, sha256 });
        liar.trust?.readFromOrigin({ realm, digest: blob.digest, size: blob.size, piece, sha256 });
      }
      const name = { realm, digest: blob.digest, segment: 0, size: blob.size, load: 0 };
      const claim = { ...name, held: 0xfff, lost: 0, marks: [], leases: [], accused: [] };
      for (const node of [prover, reader]) node.swarm.handlers.onReport(liar.id, [claim]);
      await reader.readAll(blob);
      assert.ok(reader.has(blob), 'wrong bytes were taken');
    } finally {
      lab.stop();
    }
  });
}

test('an origin that refuses is told to the one who asked, and nobody waits for its lease', async () => {
  const lab = new MemorySwarm(2);
  try {
    const blob = lab.addBlob(swarmBlob('refused', 1));
    const [first, second] = lab.nodes;
    lab.origin.fault = new OriginRefusal(401, [], new Uint8Array(0));
    await assert.rejects(async () => await first?.read(blob, 0), OriginRefusal);
    lab.origin.fault = undefined;
    assert.equal(await second?.read(blob, 0), 'origin');
    assert.equal(await first?.read(blob, 0), 'peer');
  } finally {
    lab.stop();
  }
});

test('a piece that the origin fails to give is wanted no longer than its reader waits', async () => {
  const lab = new MemorySwarm(2);
  try {
    const blob = lab.addBlob(swarmBlob('failing', 1));
    lab.origin.fault = new Error('broken');
    for (const node of lab.nodes) await assert.rejects(node.read(blob, 0), /broken/);
    // Longer than the hunt pauses before it asks again.
    await sleep(400);
    const granted = await Promise.all(
      lab.nodes.map((node) => node.metric('damselfly_leases_granted_total{kind="first"}')),
    );
    const sum = granted.reduce((total, count) => total + count, 0);
    assert.ok(sum <= 2, `${sum} leases for two reads`);
    for (const node of lab.nodes) assert.equal(node.swarm.status().planning.waiting, 0);
  } finally {
    lab.stop();
  }
});

test('two that ask each other for a piece do not wait for each other', async () => {
  const lab = new MemorySwarm(2);
  try {
    const blob = lab.addBlob(swarmBlob('circle', 1));
    const [first, second] = lab.nodes;
    assert.ok(first && second);
    const { signal } = new AbortController();
    const held = Promise.withResolvers<void>();
    lab.origin.hold = held.promise;
    const reads = lab.nodes.map((node) => node.read(blob, 0));
    // Whoever has no lease asks the other one for it.
    await eventually(() => lab.nodes.some((node) => node.swarm.status().transfers.length > 0));
    const asking = lab.nodes.find((node) => node.swarm.status().transfers.length > 0);
    const other = lab.nodes.find((node) => node !== asking);
    assert.ok(asking && other);
    const fetch = {
      ...{ realm: realmOf(UPSTREAM.origin), digest: blob.digest, size: blob.size, piece: 0 },
      ...{ urgency: 'demand' as const, waitMs: 60_000 },
    };
    assert.equal(await asking.swarm.handlers.awaitPiece(other.id, fetch, signal), false);
    held.resolve();
    await Promise.all(reads);
  } finally {
    lab.stop();
  }
});

test('a read that is itself the question of rights goes to the origin, and no planner hears of it', async () => {
  const lab = new MemorySwarm(2);
  try {
    const blob = lab.addBlob(swarmBlob('manifest', 1));
    const [first] = lab.nodes;
    const opened = await first?.swarm.source.open(
      blob,
      { start: 0, end: blob.size },
      {
        signal: AbortSignal.timeout(5_000),
        urgency: new Urgency('demand'),
        upstream: UPSTREAM,
        isCheck: true,
      },
    );
    assert.equal(opened?.source, 'origin');
    opened?.close();
    for (const node of lab.nodes)
      assert.equal(await node.metric('damselfly_planner_asks_total{direction="sent"}'), 0);
  } finally {
    lab.stop();
  }
});

/** @param order of the planners, by number of the node. */
function blobPlannedBy(lab: MemorySwarm, order: readonly number[]): SwarmBlob {
  const members = lab.nodes
    .map(({ id }) => ({ id, data: [], control: [], zone: '', epoch: 1 }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  for (let seed = 0; ; seed += 1) {
    const blob = swarmBlob(`planned ${seed}`, 12);
    const named = ranks(blob.digest, 0, committee(blob.digest, members));
    if (order.every((node, rank) => named[rank]?.id === lab.nodes[node]?.id)) return blob;
  }
}
