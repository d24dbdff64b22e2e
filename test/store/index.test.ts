import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { PIECE_BYTES, SEGMENT_BYTES, SEGMENT_PIECES } from '../../src/blob/piece.ts';
import { IndexDatabase } from '../../src/store/index-database.ts';
import { EMPTY_BATCH } from '../../src/store/index-load.ts';
import { type IndexPort, WorkerIndex } from '../../src/store/index-port.ts';
import type { IndexBatch, SegmentRow } from '../../src/store/index-protocol.ts';
import { segmentFileName } from '../../src/store/layout.ts';
import { eventually } from '../support/eventually.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { blobOf, goodPieces, metricValue, putAll, putPiece, storeIn } from './support.ts';

/** A real index whose batches can be watched, held back and failed. */
function watchedIndex() {
  const worker = new WorkerIndex();
  const batches: IndexBatch[] = [];
  const state = { hold: null as Promise<void> | null, error: null as Error | null };
  const port: IndexPort = {
    open: (options) => worker.open(options),
    apply: async (batch) => {
      batches.push(batch);
      if (state.hold !== null) await state.hold;
      if (state.error !== null) throw state.error;
      return await worker.apply(batch);
    },
    measure: () => worker.measure(),
    rebuild: () => worker.rebuild(),
    hash: (job) => worker.hash(job),
    close: () => worker.close(),
  };
  return { port, batches, state };
}

test('pieces are stored and read while the index does not answer', async (t) => {
  const { path } = await tempFolder(t);
  const { port, batches, state } = watchedIndex();
  const { promise, resolve } = Promise.withResolvers<void>();
  state.hold = promise;
  const store = await storeIn(path, { tuning: { index: port, indexDelayMs: 1 } });
  t.after(() => store.close());
  const blob = blobOf(20 * PIECE_BYTES);
  await putPiece(store, blob, 0);
  await eventually(() => batches.length === 1);
  await putAll(store, blob);
  assert.equal((await goodPieces(store.disk, blob)).length, 20);
  assert.equal(batches.length, 1, 'one batch at a time');
  resolve();
  await store.close();
  // What changed meanwhile went in one row per segment.
  const later = batches.slice(1).flatMap((batch) => batch.segments);
  assert.deepEqual(later.map((row) => row.segment).sort(), [0, 1]);
});

test('a row never speaks of a piece before its bytes are written', async (t) => {
  const { path } = await tempFolder(t);
  const { FaultyDisk } = await import('./faulty-disk.ts');
  const disk = new FaultyDisk();
  const { port, batches } = watchedIndex();
  const store = await storeIn(path, { disk, tuning: { index: port, indexDelayMs: 1 } });
  t.after(() => store.close());
  const blob = blobOf(3 * PIECE_BYTES);
  await putPiece(store, blob, 0);
  disk.stop('write');
  const put = putPiece(store, blob, 1);
  store.facts.put('tag', { key: 'k', value: 'v', expiresAtMs: 1e15 });
  await eventually(() => batches.some((batch) => batch.facts.length > 0));
  await store.flush();
  assert.ok(batches.flatMap((batch) => batch.segments).every((row) => (row.present & 0b10) === 0));
  disk.heal();
  assert.equal(await put, 'stored');
  await store.flush();
  assert.equal(batches.flatMap((batch) => batch.segments).at(-1)?.present, 0b11);
});

test('batches are bounded', async (t) => {
  const { path } = await tempFolder(t);
  const { port, batches } = watchedIndex();
  // 1/32 of the quota in rows that may cost 32 KiB each.
  const store = await storeIn(path, { maxBytes: 16 << 20, tuning: { index: port, indexDelayMs: 3_600_000 } });
  t.after(() => store.close());
  for (let n = 0; n < 300; n += 1) store.facts.put('reader', { key: `${n}`, value: 'v', expiresAtMs: 1e15 });
  await store.flush();
  const rows = batches.map((batch) => batch.facts.length);
  assert.ok(
    rows.every((count) => count <= 16),
    rows.join(' '),
  );
  assert.equal(
    rows.reduce((sum, count) => sum + count, 0),
    300,
  );
});

test('an index that fails is retried with everything, and pieces are declined meanwhile', async (t) => {
  const { path } = await tempFolder(t);
  const { port, state } = watchedIndex();
  const store = await storeIn(path, { tuning: { index: port, indexDelayMs: 1 } });
  t.after(() => store.close());
  const blob = blobOf(3 * PIECE_BYTES);
  state.error = new Error('made by the test');
  assert.equal(await putPiece(store, blob, 0), 'stored');
  store.facts.put('tag', { key: 'k', value: 'v', expiresAtMs: 1e15 });
  await store.flush();
  assert.equal(store.usage().degraded, 'disk-error');
  assert.equal(await putPiece(store, blob, 1), 'declined');
  assert.deepEqual(await goodPieces(store.disk, blob), [0]);
  assert.equal(await metricValue(store.metrics, 'damselfly_store_degraded'), 1);
  state.error = null;
  await eventually(async () => (await putPiece(store, blob, 1)) === 'stored');
  await store.close();
  const again = await storeIn(path);
  t.after(() => again.close());
  assert.deepEqual(await goodPieces(again.disk, blob), [0, 1]);
  assert.equal(again.facts.load('tag').length, 1);
});

test('an index thread that dies is a fault of the disk, not of the node', async (t) => {
  const { path } = await tempFolder(t);
  const worker = new WorkerIndex();
  const store = await storeIn(path, { tuning: { index: worker, indexDelayMs: 1 } });
  const blob = blobOf(2 * PIECE_BYTES);
  assert.equal(await putPiece(store, blob, 0), 'stored');
  await worker.close();
  store.facts.put('tag', { key: 'k', value: 'v', expiresAtMs: 1e15 });
  await store.flush();
  assert.equal(await putPiece(store, blob, 1), 'declined');
  assert.deepEqual(await goodPieces(store.disk, blob), [0]);
  await store.close();
});

test('100 GiB of segments are taken over at start', async (t) => {
  const { path } = await tempFolder(t);
  const segments = 6_400;
  const blobs = 16;
  mkdirSync(`${path}/segments`);
  const database = new IndexDatabase({ dir: path, maxBatchRows: 256, maxFactsPerKind: 100 });
  const perBlob = segments / blobs;
  const digests = Array.from({ length: blobs }, (_, n) => blobOf(1, `large ${n}`).digest);
  const rows: SegmentRow[] = [];
  for (let n = 0; n < segments; n += 1) {
    const file = segmentFileName(digests[n % blobs] ?? assert.fail(), Math.floor(n / blobs), `${n}`);
    closeSync(openSync(`${path}/segments/${file}`, 'w'));
    rows.push({
      blobId: 1 + (n % blobs),
      segment: Math.floor(n / blobs),
      file,
      present: 0xffff,
      usedAtMs: n,
      digests: new Uint8Array(SEGMENT_PIECES * 32).fill(n & 0xff),
    });
  }
  database.apply({
    ...EMPTY_BATCH,
    blobs: digests.map((digest, n) => ({
      id: 1 + n,
      digest,
      size: perBlob * SEGMENT_BYTES,
      mediaType: null,
      proven: true,
    })),
    segments: rows,
  });
  database.close();

  const began = performance.now();
  const store = await storeIn(path, { maxBytes: 200 * 2 ** 30 });
  t.diagnostic(`${segments} segments in ${Math.round(performance.now() - began)} ms`);
  t.after(() => store.close());
  assert.equal(store.usage().blobs, blobs);
  assert.equal(store.usage().pieces, segments * SEGMENT_PIECES);
  for (const digest of digests) assert.ok(store.catalog.isComplete(digest) && store.catalog.isProven(digest));
});

test('the index gives pages back after many small blobs are gone', async (t) => {
  const { path } = await tempFolder(t);
  const rest = { tuning: { indexDelayMs: 3_600_000 } };
  const digests = Array.from({ length: 6_000 }, (_, n) => blobOf(n + 1, 'record').digest);
  const first = await storeIn(path, rest);
  for (const [n, digest] of digests.entries())
    first.catalog.record(digest, { size: n + 1, mediaType: 'x'.repeat(200) });
  await first.close();
  const before = statSync(`${path}/index.db`).size;
  const second = await storeIn(path, rest);
  for (const digest of digests) second.catalog.drop(digest);
  await second.flush();
  for (let n = 0; n < 40; n += 1) {
    second.facts.put('tag', { key: `${n}`, value: 'v', expiresAtMs: 1e15 });
    await second.flush();
  }
  await second.close();
  const after = statSync(`${path}/index.db`).size;
  assert.ok(after < before / 2, `${before} before, ${after} after`);
});
