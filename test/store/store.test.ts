import assert from 'node:assert/strict';
import { chmodSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PIECE_BYTES, SEGMENT_BYTES } from '../../src/blob/piece.ts';
import { expectNoLeak } from '../support/leaks.ts';
import { tempFolder } from '../support/temp-folder.ts';
import {
  allocatedIn,
  blobOf,
  goodPieces,
  metricValue,
  pieceOf,
  putAll,
  putPiece,
  readPiece,
  segmentFiles,
  sha256,
  storeIn,
} from './support.ts';

test('pieces, sizes, media types and proofs survive a restart', async (t) => {
  const { path } = await tempFolder(t);
  const blob = blobOf(SEGMENT_BYTES + 2 * PIECE_BYTES + 99);
  const partial = blobOf(3 * PIECE_BYTES, 'partial');
  const first = await storeIn(path);
  first.catalog.record(blob.digest, { size: blob.size, mediaType: 'text/x-sample' });
  await putAll(first, blob);
  first.catalog.markProven(blob.digest);
  await putPiece(first, partial, 1);
  await first.close();

  const second = await storeIn(path);
  t.after(() => second.close());
  assert.deepEqual(second.catalog.describe(blob.digest), { size: blob.size, mediaType: 'text/x-sample' });
  assert.equal(second.catalog.isComplete(blob.digest), true);
  assert.equal(second.catalog.isProven(blob.digest), true);
  assert.equal((await goodPieces(second.disk, blob)).length, 19);
  assert.equal(second.catalog.isComplete(partial.digest), false);
  assert.equal(second.catalog.hasPiece(partial.digest, 1), true);
  assert.deepEqual(await goodPieces(second.disk, partial), [1]);
  assert.equal(second.usage().pieces, 20);
});

test('flush alone is enough for a restart that never saw close', async (t) => {
  const { path } = await tempFolder(t);
  const blob = blobOf(2 * PIECE_BYTES);
  const first = await storeIn(path, { tuning: { indexDelayMs: 3_600_000 } });
  await putAll(first, blob);
  await first.flush();
  assert.equal((await index(path)).segments, 1);
  await first.close();

  async function index(dir: string): Promise<{ segments: number }> {
    const { DatabaseSync } = await import('node:sqlite');
    const { copyFileSync } = await import('node:fs');
    // A copy, as a kill -9 would leave it: the original is locked.
    for (const suffix of ['', '-wal']) copyFileSync(`${dir}/index.db${suffix}`, `${dir}/copy.db${suffix}`);
    const db = new DatabaseSync(`${dir}/copy.db`);
    try {
      return { segments: Number(db.prepare('SELECT count(*) AS n FROM segment').get()?.n) };
    } finally {
      db.close();
    }
  }
});

test('the first size of a blob stands', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const blob = blobOf(PIECE_BYTES + 5);
  assert.equal(store.catalog.record(blob.digest, { size: blob.size, mediaType: undefined }), true);
  assert.equal(store.catalog.record(blob.digest, { size: blob.size + 1, mediaType: undefined }), false);
  assert.equal(store.catalog.record(blob.digest, { size: blob.size, mediaType: 'a/b' }), true);
  assert.equal(store.catalog.record(blob.digest, { size: blob.size, mediaType: 'c/d' }), true);
  assert.deepEqual(store.catalog.describe(blob.digest), { size: blob.size, mediaType: 'a/b' });
  const bytes = pieceOf(blob, 0);
  const lie = { digest: blob.digest, size: blob.size + 1 };
  assert.equal(await store.sink.put(lie, 0, bytes, sha256(bytes)), 'declined');
  assert.equal(await putPiece(store, blob, 0), 'stored');
});

test('a piece of a wrong length, or one that the blob does not have, is declined', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const blob = blobOf(PIECE_BYTES + 5);
  const known = { digest: blob.digest, size: blob.size };
  const bytes = pieceOf(blob, 0);
  assert.equal(await store.sink.put(known, 1, bytes, sha256(bytes)), 'declined');
  assert.equal(await store.sink.put(known, 2, bytes, sha256(bytes)), 'declined');
  assert.equal(await store.sink.put(known, 0, bytes.subarray(1), sha256(bytes)), 'declined');
  assert.equal(store.usage().pieces, 0);
});

test('a piece that is here is not written again', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const blob = blobOf(100);
  const outcomes = await Promise.all([putPiece(store, blob, 0), putPiece(store, blob, 0)]);
  assert.deepEqual(outcomes, ['stored', 'stored']);
  const other = Buffer.alloc(100);
  assert.equal(await store.sink.put(blob, 0, other, sha256(other)), 'stored');
  assert.ok((await readPiece(store.disk, blob, 0))?.equals(blob.bytes));
});

test('an empty blob is complete without a piece', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const empty = blobOf(0);
  assert.equal(await store.sink.put(empty, 0, empty.bytes, sha256(empty.bytes)), 'stored');
  assert.equal(store.catalog.isComplete(empty.digest), true);
  assert.deepEqual(segmentFiles(path), []);
});

test('drop forgets the pieces, the files and the blob, in memory and after a restart', async (t) => {
  const { path } = await tempFolder(t);
  const blob = blobOf(SEGMENT_BYTES + PIECE_BYTES);
  const first = await storeIn(path, { memoryBytes: 8 << 20 });
  await putAll(first, blob);
  const info = { size: blob.size, mediaType: undefined };
  first.memory.admit(blob.digest, info, 0, pieceOf(blob, 0), { forced: true });
  await first.flush();
  first.catalog.drop(blob.digest);
  assert.equal(first.catalog.describe(blob.digest), undefined);
  assert.equal(first.catalog.hasPiece(blob.digest, 0), false);
  assert.equal(await readPiece(first.disk, blob, 0), null);
  assert.equal(await readPiece(first.memory, blob, 0), null);
  assert.equal(await putPiece(first, blob, 3), 'stored');
  await first.close();
  assert.equal(segmentFiles(path).length, 1);

  const second = await storeIn(path);
  t.after(() => second.close());
  assert.deepEqual(await goodPieces(second.disk, blob), [3]);
  assert.equal(await metricValue(second.metrics, 'damselfly_store_corrupt_pieces_total'), 0);
});

test('a blob dropped while a piece of it is written stays dropped', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const blob = blobOf(2 * PIECE_BYTES);
  await putPiece(store, blob, 0);
  const put = putPiece(store, blob, 1);
  store.catalog.drop(blob.digest);
  assert.equal(await put, 'declined');
  assert.equal(store.catalog.hasPiece(blob.digest, 1), false);
  await store.close();
  assert.deepEqual(segmentFiles(path), []);
});

test('facts survive a restart, the oldest first, without what expired or was removed', async (t) => {
  const { path } = await tempFolder(t);
  const first = await storeIn(path);
  const forever = Number.POSITIVE_INFINITY;
  const soon = Date.now() + 3_600_000;
  first.facts.put('reader', { key: 'b', value: '1', expiresAtMs: soon });
  first.facts.put('reader', { key: 'a', value: '2', expiresAtMs: forever });
  first.facts.put('reader', { key: 'gone', value: '3', expiresAtMs: forever });
  first.facts.put('reader', { key: 'old', value: '4', expiresAtMs: Date.now() - 1 });
  first.facts.put('tag', { key: 'b', value: 'tag', expiresAtMs: soon });
  await first.flush();
  first.facts.remove('reader', 'gone');
  first.facts.put('reader', { key: 'b', value: 'renewed', expiresAtMs: soon });
  await first.close();

  const second = await storeIn(path);
  t.after(() => second.close());
  assert.deepEqual(second.facts.load('reader'), [
    { key: 'a', value: '2', expiresAtMs: forever },
    { key: 'b', value: 'renewed', expiresAtMs: soon },
  ]);
  assert.deepEqual(second.facts.load('tag'), [{ key: 'b', value: 'tag', expiresAtMs: soon }]);
  assert.deepEqual(second.facts.load('key'), []);
});

test('facts of one kind are bounded: the oldest go', async (t) => {
  const { path } = await tempFolder(t);
  // 1/64 of the quota in rows of 512 bytes: 128 of a kind.
  const maxBytes = 4 << 20;
  const first = await storeIn(path, { maxBytes });
  for (let n = 0; n < 300; n += 1)
    first.facts.put('member', { key: `m${n}`, value: 'v', expiresAtMs: Number.POSITIVE_INFINITY });
  first.facts.put('key', { key: 'k', value: 'v', expiresAtMs: Number.POSITIVE_INFINITY });
  await first.close();
  const second = await storeIn(path, { maxBytes });
  t.after(() => second.close());
  const keys = second.facts.load('member').map((fact) => fact.key);
  assert.equal(keys.length, 128);
  assert.equal(keys[0], 'm172');
  assert.equal(keys.at(-1), 'm299');
  assert.equal(second.facts.load('key').length, 1);
});

test('sizes of blobs of which nothing is here are bounded', async (t) => {
  const { path } = await tempFolder(t);
  const maxBytes = 4 << 20;
  const store = await storeIn(path, { maxBytes });
  t.after(() => store.close());
  const kept = blobOf(50);
  await putAll(store, kept);
  const first = blobOf(1, 'first');
  store.catalog.record(first.digest, { size: 1, mediaType: undefined });
  for (let n = 0; n < 300; n += 1)
    store.catalog.record(blobOf(10, n).digest, { size: 10, mediaType: undefined });
  assert.ok(store.usage().blobs <= 129, `${store.usage().blobs} blobs`);
  assert.equal(store.catalog.describe(first.digest), undefined);
  assert.ok(store.catalog.describe(kept.digest));
});

test('usage and the metrics tell what is allocated', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  await putAll(store, blobOf(3 * PIECE_BYTES + 1));
  await store.flush();
  const { allocatedBytes, blobs, pieces, maxBytes, degraded } = store.usage();
  assert.deepEqual(
    { blobs, pieces, maxBytes, degraded },
    { blobs: 1, pieces: 4, maxBytes: 1 << 30, degraded: null },
  );
  const real = allocatedIn(path);
  assert.ok(Math.abs(allocatedBytes - real) <= 256 * 1024, `says ${allocatedBytes}, is ${real}`);
  assert.equal(await metricValue(store.metrics, 'dragonfly_client_disk_space_total'), 1 << 30);
  assert.ok((await metricValue(store.metrics, 'dragonfly_client_disk_usage_space_total')) > 3 * PIECE_BYTES);
});

test('a closed store has closed everything, takes nothing and can be closed again', async (t) => {
  const { path } = await tempFolder(t);
  const blob = blobOf(PIECE_BYTES);
  await expectNoLeak(async () => {
    const store = await storeIn(path);
    await putAll(store, blob);
    await readPiece(store.disk, blob, 0);
    await Promise.all([store.close(), store.close()]);
    assert.equal(await putPiece(store, blobOf(5), 0), 'declined');
    assert.equal(
      await metricValue(store.metrics, 'damselfly_store_declined_total', { reason: 'stopped' }),
      1,
    );
    assert.equal(await readPiece(store.disk, blob, 0), null);
    await store.flush();
  });
  // What was read after the end has taken nothing away.
  const again = await storeIn(path);
  t.after(() => again.close());
  assert.deepEqual(await goodPieces(again.disk, blob), [0]);
});

test('what tells of requesters is for the owner alone, also in a directory that others may read', async (t) => {
  const { path } = await tempFolder(t);
  chmodSync(path, 0o755);
  const open = (): string[] =>
    readdirSync(path)
      .filter((name) => name.startsWith('index.db'))
      .filter((name) => (statSync(join(path, name)).mode & 0o077) !== 0);
  const first = await storeIn(path);
  assert.deepEqual(open(), []);
  await first.close();
  chmodSync(join(path, 'index.db'), 0o644);
  const second = await storeIn(path);
  t.after(() => second.close());
  second.facts.put('reader', { key: 'k', value: '1', expiresAtMs: Number.POSITIVE_INFINITY });
  await second.flush();
  assert.deepEqual(open(), [], 'one of an earlier version is closed to others');
});
