import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { type AdmissionPolicy, SecondHit } from '../../src/store/admission.ts';
import { type AdmitOptions, MemorySource } from '../../src/store/memory-source.ts';
import { blobOf, goodPieces, metricValue, pieceOf, type StoredBlob } from './support.ts';

const everything: AdmissionPolicy = { admits: () => true };

function memory(maxBytes: number, policy?: AdmissionPolicy) {
  const metrics = new Metrics();
  const source = new MemorySource(
    policy === undefined ? { maxBytes, metrics } : { maxBytes, metrics, policy },
  );
  const admit = (blob: StoredBlob, piece: number, options?: AdmitOptions): boolean =>
    source.admit(
      blob.digest,
      { size: blob.size, mediaType: undefined },
      piece,
      pieceOf(blob, piece),
      options,
    );
  return { source, metrics, admit };
}

test('holds so many bytes and no more, and forgets what was least recently read', async () => {
  const { source, metrics, admit } = memory(4 * PIECE_BYTES, everything);
  const blob = blobOf(6 * PIECE_BYTES);
  for (const piece of [0, 1, 2, 3]) assert.ok(admit(blob, piece));
  assert.deepEqual(await goodPieces(source, blob), [0, 1, 2, 3]);
  await goodPieces(source, { ...blob, size: blob.size });
  assert.ok(admit(blob, 4));
  assert.ok(admit(blob, 5));
  assert.deepEqual(await goodPieces(source, blob), [2, 3, 4, 5]);
  assert.equal(source.sizeBytes, 4 * PIECE_BYTES);
  assert.equal(await metricValue(metrics, 'damselfly_memory_cache_bytes'), 4 * PIECE_BYTES);
});

test('tells at once which pieces it has, and being asked is no use', () => {
  const { source, admit } = memory(2 * PIECE_BYTES, everything);
  const blob = blobOf(4 * PIECE_BYTES);
  assert.equal(source.maxBytes, 2 * PIECE_BYTES);
  assert.equal(source.hasAny(blob.digest), false);
  assert.ok(admit(blob, 0) && admit(blob, 1));
  assert.ok(source.hasPiece(blob.digest, 0) && source.hasAny(blob.digest));
  assert.ok(admit(blob, 2));
  assert.deepEqual(
    [0, 1, 2, 3].map((piece) => source.hasPiece(blob.digest, piece)),
    [false, true, true, false],
  );
  source.drop(blob.digest);
  assert.ok(!source.hasPiece(blob.digest, 1) && !source.hasAny(blob.digest));
  assert.equal(memory(0).source.hasPiece(blob.digest, 0), false);
});

test('takes small ranges at their second sight, large ones never, and what is forced at once', () => {
  const { admit } = memory(64 << 20);
  const blob = blobOf(8 * PIECE_BYTES);
  assert.equal(admit(blob, 0, { wantedBytes: 4096 }), false);
  assert.equal(admit(blob, 0, { wantedBytes: 4096 }), true);
  for (let n = 0; n < 3; n += 1) assert.equal(admit(blob, 1), false);
  assert.equal(admit(blob, 2, { forced: true }), true);
});

test('takes small blobs at once', async () => {
  const { source, admit } = memory(64 << 20);
  const manifest = blobOf(2000);
  assert.equal(admit(manifest, 0), true);
  assert.deepEqual(await goodPieces(source, manifest), [0]);
});

test('remembers a bounded number of offers', () => {
  const policy = new SecondHit();
  const offer = { blobSize: PIECE_BYTES, wantedBytes: 1, forced: false };
  assert.equal(policy.admits({ ...offer, key: -1 }), false);
  for (let key = 0; key < 10_000; key += 1) policy.admits({ ...offer, key });
  assert.equal(policy.admits({ ...offer, key: -1 }), false);
});

test('refuses pieces of a wrong length and of a blob of another size', async () => {
  const { source, admit } = memory(64 << 20, everything);
  const blob = blobOf(2 * PIECE_BYTES);
  const info = { size: blob.size, mediaType: undefined };
  assert.equal(source.admit(blob.digest, info, 0, blob.bytes.subarray(0, 10)), false);
  assert.equal(source.admit(blob.digest, info, 2, new Uint8Array(0)), false);
  assert.equal(admit(blob, 0), true);
  assert.equal(admit({ ...blob, size: blob.size + 1 }, 1), false);
  assert.deepEqual(await goodPieces(source, blob), [0]);
});

test('is off with no bytes', async () => {
  const { source, admit } = memory(0, everything);
  const blob = blobOf(10);
  assert.equal(admit(blob, 0, { forced: true }), false);
  assert.deepEqual(await goodPieces(source, blob), []);
  assert.equal(source.sizeBytes, 0);
});

test('does not keep a large buffer alive for a small piece', async () => {
  const { source } = memory(64 << 20, everything);
  const blob = blobOf(100);
  const large = Buffer.alloc(PIECE_BYTES);
  blob.bytes.copy(large, 500);
  const piece = large.subarray(500, 600);
  assert.ok(source.admit(blob.digest, { size: 100, mediaType: undefined }, 0, piece));
  large.fill(0);
  assert.deepEqual(await goodPieces(source, blob), [0]);
});

test('a dropped blob is gone, the others stay', async () => {
  const { source, admit } = memory(64 << 20, everything);
  const [a, b] = [blobOf(2 * PIECE_BYTES, 'a'), blobOf(2 * PIECE_BYTES, 'b')];
  for (const blob of [a, b]) for (const piece of [0, 1]) admit(blob, piece);
  source.drop(a.digest);
  assert.deepEqual(await goodPieces(source, a), []);
  assert.deepEqual(await goodPieces(source, b), [0, 1]);
  assert.equal(source.sizeBytes, 2 * PIECE_BYTES);
  assert.ok(admit(a, 0));
  assert.deepEqual(await goodPieces(source, a), [0]);
});
