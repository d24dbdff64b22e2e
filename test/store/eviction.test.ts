import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PIECE_BYTES, SEGMENT_BYTES } from '../../src/blob/piece.ts';
import { isFileSlice } from '../../src/blob/source.ts';
import type { Store } from '../../src/store/store.ts';
import { SETTLE_MS } from '../../src/store/verifier.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { FaultyDisk } from './faulty-disk.ts';
import {
  blobOf,
  bytesOf,
  goodPieces,
  metricValue,
  openSpan,
  putAll,
  putPiece,
  readPiece,
  type StoredBlob,
  storeIn,
  take,
} from './support.ts';

const MIB = 1 << 20;
/** Room for four blobs of one piece. */
const maxBytes = 4.75 * MIB;

function blobs(count: number): StoredBlob[] {
  return Array.from({ length: count }, (_, n) => blobOf(PIECE_BYTES, `blob ${n}`));
}

/** A clock that each look moves on, so that every use is a later one. */
function ticking(stepMs = 2_000): () => number {
  let now = Date.now();
  return () => (now += stepMs);
}

async function here(store: Store, all: readonly StoredBlob[]): Promise<number[]> {
  return all.flatMap((blob, n) => (store.catalog.hasPiece(blob.digest, 0) ? [n] : []));
}

test('the least recently read goes first', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path, { maxBytes, tuning: { now: ticking() } });
  t.after(() => store.close());
  const all = blobs(6);
  for (const blob of all.slice(0, 4)) await putAll(store, blob);
  const [zero] = all;
  assert.ok(zero);
  await readPiece(store.disk, zero, 0);
  for (const blob of all.slice(4)) await putAll(store, blob);
  assert.deepEqual(await here(store, all), [0, 3, 4, 5]);
  assert.equal(await metricValue(store.metrics, 'damselfly_evicted_segments_total'), 2);
  assert.ok((await metricValue(store.metrics, 'damselfly_evicted_bytes_total')) >= 2 * MIB);
});

test('the order of use survives a restart', async (t) => {
  const { path } = await tempFolder(t);
  // A use is written down at most once a minute.
  const first = await storeIn(path, { maxBytes, tuning: { now: ticking(61_000) } });
  const all = blobs(6);
  for (const blob of all.slice(0, 4)) await putAll(first, blob);
  await first.flush();
  const [zero] = all;
  assert.ok(zero);
  await readPiece(first.disk, zero, 0);
  await first.close();
  const second = await storeIn(path, { maxBytes });
  t.after(() => second.close());
  for (const blob of all.slice(4)) await putAll(second, blob);
  assert.deepEqual(await here(second, all), [0, 3, 4, 5]);
});

test('what is being read is not evicted', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path, { maxBytes });
  t.after(() => store.close());
  const all = blobs(8);
  for (const blob of all.slice(0, 4)) await putAll(store, blob);
  const [zero] = all;
  assert.ok(zero);
  const opened = await openSpan(store.disk, zero, { start: 0, end: PIECE_BYTES });
  assert.ok(opened);
  for (const blob of all.slice(4)) await putAll(store, blob);
  assert.deepEqual(await here(store, all), [0, 5, 6, 7]);
  assert.ok((await take(opened)).bytes.equals(zero.bytes));
  const next = blobOf(PIECE_BYTES, 'next');
  await putAll(store, next);
  assert.deepEqual(await here(store, all), [5, 6, 7]);
});

test('what is being written is not evicted', async (t) => {
  const { path } = await tempFolder(t);
  const disk = new FaultyDisk();
  const store = await storeIn(path, { maxBytes, disk });
  t.after(() => store.close());
  const all = blobs(9);
  const [zero, ...others] = all;
  assert.ok(zero);
  const { promise: held, resolve: go } = Promise.withResolvers<void>();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const write = disk.write.bind(disk);
  disk.write = async (fd, bytes, position) => {
    disk.write = write;
    begin();
    await held;
    return await write(fd, bytes, position);
  };
  const put = putPiece(store, zero, 0);
  await begun;
  for (const blob of others) await putAll(store, blob);
  go();
  assert.equal(await put, 'stored');
  assert.deepEqual(await goodPieces(store.disk, zero), [0]);
});

test('a slice in flight keeps its segment, and its bytes even when the blob is dropped', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path, { maxBytes });
  t.after(() => store.close());
  const all = blobs(8);
  for (const blob of all.slice(0, 4)) await putAll(store, blob);
  const [zero] = all;
  assert.ok(zero);
  await sleep(SETTLE_MS * 1.5);
  await readPiece(store.disk, zero, 0);
  const opened = await openSpan(store.disk, zero, { start: 0, end: PIECE_BYTES });
  assert.ok(opened);
  const chunk = (await opened.chunks[Symbol.asyncIterator]().next()).value;
  assert.ok(chunk !== undefined && isFileSlice(chunk), 'not a slice');
  for (const blob of all.slice(4)) await putAll(store, blob);
  assert.ok(store.catalog.hasPiece(zero.digest, 0));
  store.catalog.drop(zero.digest);
  await store.flush();
  await putAll(store, zero);
  assert.ok((await bytesOf(chunk)).equals(zero.bytes));
});

test('with everything in use a put is declined', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path, { maxBytes });
  t.after(() => store.close());
  const all = blobs(5);
  const opened = [];
  for (const blob of all.slice(0, 4)) {
    await putAll(store, blob);
    opened.push(await openSpan(store.disk, blob, { start: 0, end: 1 }));
  }
  const last = all.at(-1);
  assert.ok(last);
  assert.equal(await putPiece(store, last, 0), 'declined');
  assert.equal(await metricValue(store.metrics, 'damselfly_store_declined_total', { reason: 'no-room' }), 1);
  for (const read of opened) read?.close();
  assert.equal(await putPiece(store, last, 0), 'stored');
});

test('a pinned blob stays until it is let go', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path, { maxBytes });
  t.after(() => store.close());
  const all = blobs(8);
  for (const blob of all.slice(0, 4)) await putAll(store, blob);
  const [zero] = all;
  assert.ok(zero);
  const letGo = store.pin(zero.digest);
  for (const blob of all.slice(4, 7)) await putAll(store, blob);
  assert.deepEqual(await here(store, all), [0, 4, 5, 6]);
  letGo();
  letGo();
  await putAll(store, all[7] ?? zero);
  assert.deepEqual(await here(store, all), [4, 5, 6, 7]);
});

test('a blob larger than the cache passes through it piece by piece', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path, { maxBytes: 20 * MIB });
  t.after(() => store.close());
  const large = blobOf(3 * SEGMENT_BYTES);
  await putAll(store, large);
  assert.equal(store.catalog.isComplete(large.digest), false);
  assert.deepEqual(
    await goodPieces(store.disk, large),
    Array.from({ length: 16 }, (_, n) => 32 + n),
  );
});

test('a proof counts for the pieces that are here or being written, not for what is read later', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const { catalog } = store;

  const later = blobOf(2 * MIB, 'later');
  await putPiece(store, later, 0);
  catalog.markProven(later.digest);
  assert.equal(catalog.isProven(later.digest), false, 'one of its pieces was read and not kept');
  await putPiece(store, later, 1);
  assert.equal(catalog.isProven(later.digest), false, 'and was read again after the proof');

  const inTime = blobOf(2 * MIB, 'in time');
  await putPiece(store, inTime, 0);
  const writing = putPiece(store, inTime, 1);
  catalog.markProven(inTime.digest);
  await writing;
  assert.equal(catalog.isProven(inTime.digest), true);

  const gone = blobOf(2 * MIB, 'gone');
  await putPiece(store, gone, 0);
  const lost = putPiece(store, gone, 1);
  catalog.markProven(gone.digest);
  catalog.drop(gone.digest);
  assert.equal(await lost, 'declined');
  await putAll(store, gone);
  assert.equal(catalog.isProven(gone.digest), false);
});

test('a blob of which a segment went is proven no more', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path, { maxBytes: 20 * MIB });
  t.after(() => store.close());
  const blob = blobOf(SEGMENT_BYTES);
  await putAll(store, blob);
  store.catalog.markProven(blob.digest);
  await putAll(store, blobOf(8 * MIB, 'other'));
  assert.equal(store.catalog.isProven(blob.digest), false);
  assert.deepEqual(store.catalog.describe(blob.digest), { size: blob.size, mediaType: undefined });
});
