import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { pino } from 'pino';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { hasCode } from '../../src/errors.ts';
import type { StoreOptions } from '../../src/store/store.ts';
import { SETTLE_MS } from '../../src/store/verifier.ts';
import { eventually } from '../support/eventually.ts';
import { expectNoLeak } from '../support/leaks.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { FaultyDisk } from './faulty-disk.ts';
import {
  blobOf,
  goodPieces,
  metricValue,
  openOptions,
  openSpan,
  pieceOf,
  putAll,
  putPiece,
  readPiece,
  sha256,
  storeIn,
  take,
} from './support.ts';

const blob = blobOf(6 * PIECE_BYTES);
/** Long enough that no probe comes by itself within a test. */
const NEVER_MS = 3_600_000;

async function faulty(t: TestContext, options: Partial<StoreOptions> = {}) {
  const { path } = await tempFolder(t);
  const disk = new FaultyDisk();
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) });
  const store = await storeIn(path, {
    disk,
    log,
    ...options,
    tuning: { probeMs: NEVER_MS, ...options.tuning },
  });
  t.after(async () => {
    disk.heal();
    await store.close();
  });
  const declined = (reason: string) =>
    metricValue(store.metrics, 'damselfly_store_declined_total', { reason });
  return { path, disk, store, lines, declined };
}

for (const [code, reason] of [
  ['ENOSPC', 'disk-full'],
  ['EDQUOT', 'disk-full'],
  ['EIO', 'disk-error'],
  ['EROFS', 'read-only'],
] as const) {
  for (const call of ['open', 'truncate', 'write'] as const) {
    test(`${code} of ${call} declines, degrades once, and costs nothing from then on`, async (t) => {
      const { disk, store, lines, declined } = await faulty(t);
      disk.fail(call, code);
      assert.equal(await putPiece(store, blob, 0), 'declined');
      assert.equal(store.usage().degraded, reason);
      assert.equal(await metricValue(store.metrics, 'damselfly_store_degraded'), 1);
      const calls = disk.count(call);
      for (let piece = 0; piece < 6; piece += 1) assert.equal(await putPiece(store, blob, piece), 'declined');
      assert.equal(disk.count(call), calls, 'the disk was asked again');
      assert.equal(await declined(reason), 7);
      assert.equal(lines.filter((line) => line.includes('"level":40')).length, 1, lines.join(''));
      assert.equal(store.catalog.hasPiece(blob.digest, 0), false);
      assert.equal(await readPiece(store.disk, blob, 0), null);
    });
  }
}

test('a disk that works again is noticed by a probe', async (t) => {
  const { disk, store, lines } = await faulty(t, { tuning: { probeMs: 20 } });
  disk.fail('write', 'EIO');
  assert.equal(await putPiece(store, blob, 0), 'declined');
  disk.heal();
  assert.equal(await putPiece(store, blob, 0), 'declined');
  await eventually(async () => (await putPiece(store, blob, 0)) === 'stored');
  assert.equal(store.usage().degraded, null);
  assert.equal(await metricValue(store.metrics, 'damselfly_store_degraded'), 0);
  assert.ok(lines.some((line) => line.includes('works again')));
  await putAll(store, blob);
});

test('a full disk makes room for a piece by evicting, once', async (t) => {
  const { disk, store } = await faulty(t);
  const old = blobOf(PIECE_BYTES, 'old');
  await putAll(store, old);
  disk.fail('write', 'ENOSPC', 1);
  assert.equal(await putPiece(store, blob, 0), 'stored');
  assert.equal(store.catalog.hasPiece(old.digest, 0), false);
  assert.equal(store.usage().degraded, null);
  assert.deepEqual(await goodPieces(store.disk, blob), [0]);
});

test('a short write is gone on with', async (t) => {
  const { disk, store } = await faulty(t);
  const write = disk.write.bind(disk);
  disk.write = (fd, bytes, position) => write(fd, bytes.subarray(0, Math.ceil(bytes.length / 3)), position);
  await putAll(store, blob);
  assert.equal((await goodPieces(store.disk, blob)).length, 6);
});

test('too many open files is a moment, not a state', async (t) => {
  const { disk, store, declined } = await faulty(t);
  disk.fail('open', 'EMFILE', 1);
  assert.equal(await putPiece(store, blob, 0), 'declined');
  assert.equal(await declined('busy'), 1);
  assert.equal(store.usage().degraded, null);
  assert.equal(await putPiece(store, blob, 0), 'stored');
});

test('a write that takes too long is declined, and its piece is not written again before it has ended', async (t) => {
  const { disk, store, declined } = await faulty(t, { tuning: { writeTimeoutMs: 50, probeMs: 1 } });
  await putPiece(store, blob, 1);
  disk.stop('write');
  const bytes = Buffer.from(pieceOf(blob, 0));
  assert.equal(await store.sink.put(blob, 0, bytes, sha256(bytes)), 'declined');
  assert.equal(await declined('disk-slow'), 1);
  assert.equal(store.usage().degraded, 'disk-slow');
  // The buffer is the caller's again, and the write is still under way.
  bytes.fill(0);
  await eventually(async () => (await putPiece(store, blob, 0)) === 'declined');
  disk.heal();
  await eventually(async () => (await putPiece(store, blob, 0)) === 'stored');
  assert.deepEqual(await goodPieces(store.disk, blob), [0, 1]);
});

test('a stopped disk takes a bounded number of writes, the rest is busy', async (t) => {
  const { disk, store, declined } = await faulty(t, {
    tuning: { writesAtOnce: 2, queuedWrites: 1, writeTimeoutMs: 10_000 },
  });
  disk.stop('write');
  const puts = [0, 1, 2, 3, 4, 5].map((piece) => putPiece(store, blob, piece));
  assert.deepEqual(await Promise.all(puts.slice(3)), ['declined', 'declined', 'declined']);
  assert.equal(await declined('busy'), 3);
  await eventually(() => disk.count('write') === 2);
  disk.heal();
  assert.deepEqual(await Promise.all(puts.slice(0, 3)), ['stored', 'stored', 'stored']);
});

test('a read that takes too long is a miss, and the next ones do not wait', async (t) => {
  const { disk, store } = await faulty(t, { tuning: { readTimeoutMs: 50 } });
  await putAll(store, blob);
  disk.stop('read');
  assert.equal(await readPiece(store.disk, blob, 0), null);
  const reads = disk.count('read');
  for (let piece = 0; piece < 6; piece += 1) assert.equal(await readPiece(store.disk, blob, piece), null);
  assert.equal(disk.count('read'), reads);
  // So that runs of missing pieces are asked for in one go.
  assert.equal(store.catalog.hasPiece(blob.digest, 0), false);
  assert.equal(await metricValue(store.metrics, 'damselfly_store_degraded'), 1);
});

test('a disk that reads again is noticed by a probe, and has lost nothing', async (t) => {
  const { disk, store } = await faulty(t, { tuning: { readTimeoutMs: 50, probeMs: 20 } });
  await putAll(store, blob);
  disk.stop('read');
  assert.equal(await readPiece(store.disk, blob, 0), null);
  disk.heal();
  // On a busy machine one of these short reads may be late again, and be probed again.
  await eventually(async () => (await goodPieces(store.disk, blob)).length === 6);
  assert.equal(await metricValue(store.metrics, 'damselfly_store_corrupt_pieces_total'), 0);
  assert.equal(await metricValue(store.metrics, 'damselfly_store_degraded'), 0);
});

test('a disk that reads again is noticed too when all that is read needs no disk', async (t) => {
  const { disk, store } = await faulty(t, { tuning: { readTimeoutMs: 50, probeMs: 20 } });
  await putAll(store, blob);
  await sleep(SETTLE_MS * 1.5);
  assert.ok(await readPiece(store.disk, blob, 1));
  disk.stop('read');
  assert.equal(await readPiece(store.disk, blob, 0), null);
  const degraded = (): Promise<number> => metricValue(store.metrics, 'damselfly_store_degraded');
  const reads = disk.count('read');
  await eventually(async () => {
    assert.ok((await readPiece(store.disk, blob, 1))?.equals(pieceOf(blob, 1)), 'a warm read waits');
    return disk.count('read') > reads;
  });
  assert.equal(await degraded(), 1);
  disk.heal();
  await eventually(async () => {
    assert.ok(await readPiece(store.disk, blob, 1));
    return (await degraded()) === 0;
  });
  assert.ok(store.catalog.hasPiece(blob.digest, 0));
});

test('a disk that stops in the middle of a read ends it with an error', async (t) => {
  // Nothing but the last piece is believed to be in memory, so trusted pieces are read from the disk.
  const { disk, store } = await faulty(t, { residentBytes: 1, tuning: { readTimeoutMs: 50 } });
  await putAll(store, blob);
  await sleep(SETTLE_MS * 1.5);
  assert.equal((await goodPieces(store.disk, blob)).length, 6);
  const opened = await openSpan(store.disk, blob, { start: 0, end: blob.size });
  assert.equal(opened?.span.end, blob.size);
  disk.stop('read');
  await assert.rejects(take(opened), (error) => hasCode(error, 'store-unreadable'));
  assert.equal(store.usage().pieces, 6);
});

test('trusted pieces that are not in memory are read in part, and whole when they are wanted again', async (t) => {
  const { disk, store } = await faulty(t, { residentBytes: 2 * PIECE_BYTES });
  await putAll(store, blob);
  await sleep(SETTLE_MS * 1.5);
  assert.equal((await goodPieces(store.disk, blob)).length, 6);
  const lengths: number[] = [];
  const read = disk.read.bind(disk);
  disk.read = (fd, into, position) => {
    lengths.push(into.byteLength);
    return read(fd, into, position);
  };
  for (let round = 0; round < 3; round += 1) {
    const opened = await openSpan(store.disk, blob, { start: 100, end: 4196 });
    assert.ok(opened);
    assert.ok((await take(opened)).bytes.equals(blob.bytes.subarray(100, 4196)));
  }
  assert.deepEqual(lengths, [4096, PIECE_BYTES]);
});

test('a piece that cannot be read is dropped and written anew', async (t) => {
  const { disk, store } = await faulty(t);
  await putAll(store, blob);
  disk.fail('read', 'EIO', 1);
  assert.equal(await readPiece(store.disk, blob, 2), null);
  assert.equal(store.catalog.hasPiece(blob.digest, 2), false);
  assert.deepEqual(await goodPieces(store.disk, blob), [0, 1, 3, 4, 5]);
  assert.equal(await putPiece(store, blob, 2), 'stored');
  assert.equal((await goodPieces(store.disk, blob)).length, 6);
});

test('a file that cannot be opened for lack of descriptors is not forgotten', async (t) => {
  const { path, disk, store } = await faulty(t);
  await putAll(store, blob);
  await store.close();
  const again = await storeIn(path, { disk });
  t.after(() => again.close());
  disk.fail('open', 'EMFILE', 1);
  assert.equal(await readPiece(again.disk, blob, 0), null);
  assert.equal((await goodPieces(again.disk, blob)).length, 6);
});

test('an abort ends a waiting open at once, on a disk that never answers', async (t) => {
  const { disk, store } = await faulty(t, { tuning: { readTimeoutMs: NEVER_MS } });
  await putAll(store, blob);
  disk.stop('read');
  const abort = new AbortController();
  const open = store.disk.open(blob, { start: 0, end: 10 }, openOptions(abort.signal));
  await turn();
  abort.abort(new Error('gone'));
  await assert.rejects(async () => await open, /gone/);
});

test('a file that cannot be unlinked stays on the account and is tried again', async (t) => {
  const MIB = 1 << 20;
  const { disk, store } = await faulty(t, { maxBytes: 2 * MIB, tuning: { maintainMs: 20 } });
  await putAll(store, blobOf(MIB, 'first'));
  disk.fail('unlink', 'EIO');
  assert.equal(await putPiece(store, blobOf(MIB, 'second'), 0), 'declined');
  disk.heal();
  await eventually(async () => (await putPiece(store, blobOf(MIB, 'third'), 0)) === 'stored');
  // Before its folder goes: it looks so often that it would make it anew.
  await store.close();
});

test('a store on a stopped disk can still be closed', async (t) => {
  const { path } = await tempFolder(t);
  const disk = new FaultyDisk();
  await expectNoLeak(async () => {
    const store = await storeIn(path, { disk, tuning: { writeTimeoutMs: 50, readTimeoutMs: 50 } });
    await putPiece(store, blob, 0);
    disk.stop('write', 'read');
    assert.equal(await putPiece(store, blob, 1), 'declined');
    assert.equal(await readPiece(store.disk, blob, 0), null);
    await store.close();
    disk.heal();
  });
});
