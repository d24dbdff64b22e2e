import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PIECE_BYTES, SEGMENT_BYTES } from '../../src/blob/piece.ts';
import { hasCode } from '../../src/errors.ts';
import { type DiskLayer, realDisk } from '../../src/store/disk-layer.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { blobOf, goodPieces, openSpan, putAll, putPiece, storeIn, take } from './support.ts';

const { signal } = new AbortController();

test('what nobody speaks of goes, what speaks of nothing goes, the rest stays', async (t) => {
  const { path } = await tempFolder(t);
  writeFileSync(join(path, 'identity.key'), 'secret');
  writeFileSync(join(path, 'notes.txt'), 'not ours');
  const store = await storeIn(path);
  t.after(() => store.close());
  const [kept, lost] = [blobOf(2 * PIECE_BYTES, 'kept'), blobOf(2 * PIECE_BYTES, 'lost')];
  await putAll(store, kept);
  await putAll(store, lost);
  const segments = join(path, 'segments');
  const hex = lost.digest.slice('sha256:'.length);
  for (const name of readdirSync(segments)) if (name.startsWith(hex)) rmSync(join(segments, name));
  writeFileSync(join(segments, 'left-behind.tmp'), Buffer.alloc(10_000));
  mkdirSync(join(segments, 'a-folder'));
  writeFileSync(join(segments, 'a-folder', 'inside'), 'x');

  const report = await store.care.collect({}, signal);
  assert.equal(report.lostSegments, 1);
  assert.equal(report.unknownFiles.files, 2);
  assert.ok(report.unknownFiles.bytes >= 10_000);
  assert.deepEqual(report.evicted, { segments: 0, bytes: 0 });
  assert.ok(report.bytesAfter < report.bytesBefore);
  assert.equal(report.bytesAfter, store.usage().allocatedBytes);
  assert.deepEqual(
    readdirSync(segments).map((name) => name.split('.')[0]),
    [kept.digest.slice('sha256:'.length)],
  );
  assert.equal(store.catalog.hasAny(lost.digest), false);
  assert.deepEqual(await goodPieces(store.disk, kept), [0, 1]);
  assert.equal(readFileSync(join(path, 'identity.key'), 'utf8'), 'secret');
  assert.equal(readFileSync(join(path, 'notes.txt'), 'utf8'), 'not ours');
  const again = await store.care.collect({}, signal);
  assert.deepEqual([again.unknownFiles.files, again.lostSegments], [0, 0]);
});

test('what was read long ago goes by its age, the rest stays', async (t) => {
  const { path } = await tempFolder(t);
  let nowMs = Date.now();
  const store = await storeIn(path, { tuning: { now: () => nowMs } });
  t.after(() => store.close());
  const [old, young] = [blobOf(PIECE_BYTES, 'old'), blobOf(PIECE_BYTES, 'young')];
  await putAll(store, old);
  nowMs += 86_400_000;
  await putAll(store, young);
  const none = await store.care.collect({ olderThanMs: 2 * 86_400_000 }, signal);
  assert.equal(none.evicted.segments, 0);
  const report = await store.care.collect({ olderThanMs: 3_600_000 }, signal);
  assert.equal(report.evicted.segments, 1);
  assert.ok(report.evicted.bytes >= PIECE_BYTES);
  assert.equal(store.catalog.hasAny(old.digest), false);
  assert.deepEqual(await goodPieces(store.disk, young), [0]);
});

test('down to a size, the least recently read first, and no further', async (t) => {
  const { path } = await tempFolder(t);
  let nowMs = Date.now();
  const store = await storeIn(path, { tuning: { now: () => nowMs } });
  t.after(() => store.close());
  const blobs = [0, 1, 2, 3].map((n) => blobOf(2 * PIECE_BYTES, n));
  for (const blob of blobs) {
    await putAll(store, blob);
    nowMs += 60_000;
  }
  const other = store.usage().allocatedBytes - 4 * 2 * PIECE_BYTES;
  const maxBytes = other + 2 * 2 * PIECE_BYTES;
  const report = await store.care.collect({ maxBytes }, signal);
  assert.equal(report.evicted.segments, 2);
  assert.ok(report.bytesAfter <= maxBytes);
  assert.deepEqual(
    blobs.map(({ digest }) => store.catalog.hasAny(digest)),
    [false, false, true, true],
  );
});

test('what is being read stays until it has been', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const blob = blobOf(2 * PIECE_BYTES, 'in use');
  await putAll(store, blob);
  const opened = await openSpan(store.disk, blob, { start: 0, end: blob.size });
  assert.ok(opened !== null);
  const report = await store.care.collect({ maxBytes: 0 }, signal);
  assert.equal(report.evicted.segments, 0);
  const { bytes } = await take(opened);
  assert.ok(bytes.equals(blob.bytes.subarray(0, bytes.length)) && bytes.length > 0);
  opened.close();
  assert.equal((await store.care.collect({ maxBytes: 0 }, signal)).evicted.segments, 1);
});

test('a segment whose file is just being born is not taken for lost', async (t) => {
  const { path } = await tempFolder(t);
  const opening = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const disk: DiskLayer = {
    ...realDisk,
    open: async (file, mode) => {
      opening.resolve();
      await gate.promise;
      return await realDisk.open(file, mode);
    },
  };
  const store = await storeIn(path, { disk });
  t.after(() => store.close());
  const blob = blobOf(PIECE_BYTES, 'born');
  const putting = putPiece(store, blob, 0);
  await opening.promise;
  assert.equal((await store.care.collect({}, signal)).lostSegments, 0);
  gate.resolve();
  assert.equal(await putting, 'stored');
});

test('a directory that cannot be looked through is told by its code', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(join(path, 'cache'));
  t.after(() => store.close());
  rmSync(join(path, 'cache', 'segments'), { recursive: true });
  await assert.rejects(store.care.collect({}, signal), (error) => hasCode(error, 'store-unreadable'));
});

test('many segments are more than one step', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const size = 600 * 64;
  for (let n = 0; n < 600; n += 1) await putAll(store, blobOf(64, n));
  const report = await store.care.collect({ maxBytes: 0 }, signal);
  assert.equal(report.evicted.segments, 600);
  assert.equal(store.usage().pieces, 0);
  assert.ok(size < SEGMENT_BYTES);
});
