import assert from 'node:assert/strict';
import { closeSync, openSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { eventually } from '../support/eventually.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { FaultyDisk } from './faulty-disk.ts';
import {
  blobOf,
  metricValue,
  openOptions,
  openSpan,
  putAll,
  putPiece,
  segmentFiles,
  storeIn,
  take,
} from './support.ts';

const blob = blobOf(18 * PIECE_BYTES + 5);

test('what was written is checked in the worker once the store is quiet, so that its first reader gets slices', async (t) => {
  const { path } = await tempFolder(t);
  const disk = new FaultyDisk();
  const store = await storeIn(path, { disk, tuning: { sealAfterMs: 30, settleMs: 10 } });
  t.after(() => store.close());
  await putAll(store, blob);
  // Piece by piece in order: with the last one of a segment its others are done.
  for (const start of [15 * PIECE_BYTES, 18 * PIECE_BYTES]) {
    await eventually(
      () => {
        const read = store.disk.open(blob, { start, end: blob.size }, openOptions());
        if (read instanceof Promise) {
          // A cold open: not yet.
          void read.then((opened) => opened?.close());
          return false;
        }
        read?.close();
        return read !== null;
      },
      { everyMs: 100 },
    );
  }
  const reads = disk.count('read');
  const opened = await openSpan(store.disk, blob, { start: 0, end: blob.size });
  assert.ok(opened);
  const { bytes, slices } = await take(opened);
  assert.ok(bytes.equals(blob.bytes.subarray(0, bytes.length)));
  assert.equal(slices, 4);
  assert.equal(disk.count('read'), reads);
});

test('damage that the check finds is dropped and counted', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path, { tuning: { sealAfterMs: 150, settleMs: 10 } });
  t.after(() => store.close());
  await putAll(store, blob);
  const file = segmentFiles(path).find((name) => name.includes('.0.'));
  assert.ok(file);
  const fd = openSync(file, 'r+');
  writeSync(fd, Buffer.alloc(100, 7), 0, 100, 3 * PIECE_BYTES);
  closeSync(fd);
  await eventually(() => !store.catalog.hasPiece(blob.digest, 3));
  assert.equal(await metricValue(store.metrics, 'damselfly_store_corrupt_pieces_total'), 1);
  assert.equal(store.usage().pieces, 18);
});

test('nothing is checked ahead while the store is in use', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path, { tuning: { sealAfterMs: 200, settleMs: 1 } });
  t.after(() => store.close());
  await putAll(store, blob);
  const until = performance.now() + 600;
  while (performance.now() < until) {
    const start = 16 * PIECE_BYTES;
    await putPiece(store, blobOf(10, performance.now()), 0);
    const opened = await openSpan(store.disk, blob, { start, end: start + 1 });
    opened?.close();
    await sleep(5);
  }
  const opened = store.disk.open(blob, { start: 0, end: 10 }, openOptions());
  assert.ok(opened instanceof Promise, 'it was checked in the middle of the load');
  (await opened)?.close();
});
