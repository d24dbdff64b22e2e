import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import type { Digest } from '../../src/blob/digest.ts';
import { PIECE_BYTES, pieceSpan } from '../../src/blob/piece.ts';
import { TempFolder } from '../support/temp-folder.ts';
import { blobOf, putAll, putPiece, storeIn } from './support.ts';

test('the store tells what it holds, by segment, most recently used first, and the digest of each piece', async () => {
  await using folder = await TempFolder.make();
  let nowMs = 1_000_000;
  const store = await storeIn(folder.path, { tuning: { now: () => nowMs } });
  try {
    const [old, young] = [blobOf(18 * PIECE_BYTES + 5, 'old'), blobOf(2 * PIECE_BYTES, 'young')];
    for (const piece of [0, 3, 17, 18]) await putPiece(store, old, piece);
    nowMs += 60_000;
    await putAll(store, young);
    const held = store.held().map(({ blob, segments }) => [blob.digest, blob.size, [...segments]]);
    assert.deepEqual(held, [
      [young.digest, young.size, [[0, 0b11]]],
      [
        old.digest,
        old.size,
        [
          [0, 0b1001],
          [1, 0b110],
        ],
      ],
    ]);
    const span = pieceSpan(18, old.size);
    const wanted = createHash('sha256').update(old.bytes.subarray(span.start, span.end)).digest();
    assert.deepEqual(Buffer.from(store.catalog.pieceDigest(old.digest, 18) ?? []), wanted);
    assert.equal(store.catalog.pieceDigest(old.digest, 1), undefined);
  } finally {
    await store.close();
  }
});

test('whoever wants to know hears of segments whose pieces are gone', async () => {
  await using folder = await TempFolder.make();
  const lost: [Digest, number][] = [];
  const store = await storeIn(folder.path, {
    events: { lost: ({ digest }, segment) => lost.push([digest, segment]) },
  });
  try {
    const blob = blobOf(18 * PIECE_BYTES, 'lost');
    await putPiece(store, blob, 0);
    await putPiece(store, blob, 17);
    assert.deepEqual(lost, []);
    await putPiece(store, blob, 1);
    store.dropPiece(blob.digest, 1);
    assert.deepEqual(lost.splice(0), [[blob.digest, 0]]);
    assert.equal(store.catalog.hasPiece(blob.digest, 1), false);
    assert.equal(store.catalog.hasPiece(blob.digest, 0), true);
    store.catalog.drop(blob.digest);
    assert.deepEqual(lost.sort(), [
      [blob.digest, 0],
      [blob.digest, 1],
    ]);
  } finally {
    await store.close();
  }
});

test('whoever wants to know hears of a blob that is proven, once', async () => {
  await using folder = await TempFolder.make();
  const proven: unknown[] = [];
  const store = await storeIn(folder.path, { events: { proven: (blob) => proven.push(blob) } });
  try {
    const blob = blobOf(3 * PIECE_BYTES, 'proven');
    await putAll(store, blob);
    assert.deepEqual(proven, []);
    store.catalog.markProven(blob.digest);
    store.catalog.markProven(blob.digest);
    assert.deepEqual(proven, [{ digest: blob.digest, size: blob.size }]);
  } finally {
    await store.close();
  }
});
