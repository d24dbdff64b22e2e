import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { PIECE_BYTES, pieceCount } from '../../src/blob/piece.ts';
import type { Chunk } from '../../src/blob/source.ts';
import { isFileSlice } from '../../src/blob/source.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { tempFolder } from '../support/temp-folder.ts';
import {
  allocatedIn,
  blobOf,
  goodPieces,
  metricValue,
  openSpan,
  pieceOf,
  putAll,
  putPiece,
  readPiece,
  type StoredBlob,
  segmentFiles,
  storeIn,
} from './support.ts';

const MIB = 1 << 20;

/** Asks the folder's size again and again, whatever else goes on. */
class QuotaWatch {
  readonly #dir: string;
  readonly #maxBytes: number;
  #over = false;

  constructor(t: TestContext, dir: string, maxBytes: number) {
    t.after(() => this.end());
    this.#dir = dir;
    this.#maxBytes = maxBytes;
  }

  sample(): void {
    const bytes = allocatedIn(this.#dir);
    assert.ok(bytes <= this.#maxBytes, `${bytes} bytes are allocated of ${this.#maxBytes}`);
  }

  async run(): Promise<void> {
    while (!this.#over) {
      this.sample();
      await turn();
    }
  }

  end(): void {
    this.#over = true;
  }
}

for (const { maxBytes, steps } of [
  { maxBytes: 2 * MIB, steps: 150 },
  { maxBytes: 9 * MIB, steps: 250 },
  { maxBytes: 40 * MIB, steps: 300 },
]) {
  test(`${maxBytes / MIB} MiB are never exceeded by random puts, reads and restarts`, async (t) => {
    const { path } = await tempFolder(t);
    const random = new Random(`quota ${maxBytes}`);
    const blobs: StoredBlob[] = [blobOf(40 * PIECE_BYTES, 'large'), blobOf(17 * PIECE_BYTES + 5, 'middle')];
    for (let n = 0; n < 60; n += 1) blobs.push(blobOf(random.integer(1, 20_000), `small ${n}`));
    const [first, ...others] = blobs;
    assert.ok(first);
    const pick = (): StoredBlob => random.pick([first, ...others.slice(0, 1), ...others]);
    let store = await storeIn(path, { maxBytes, tuning: { indexDelayMs: 5 } });
    t.after(() => store.close());
    let watch = new QuotaWatch(t, path, maxBytes);
    let watching = watch.run();
    const held: Chunk[] = [];
    let stored = 0;
    const step = async (): Promise<void> => {
      const blob = pick();
      const piece = random.integer(0, pieceCount(blob.size));
      const dice = random.next();
      if (dice < 0.65) {
        if ((await putPiece(store, blob, piece)) === 'stored') stored += 1;
      } else if (dice < 0.95) {
        const bytes = await readPiece(store.disk, blob, piece);
        assert.ok(bytes === null || bytes.equals(pieceOf(blob, piece)), 'wrong bytes');
      } else if (dice < 0.98) {
        const opened = await openSpan(store.disk, blob, { start: piece * PIECE_BYTES, end: blob.size });
        if (opened === null) return;
        for await (const chunk of opened.chunks) {
          held.push(chunk);
          break;
        }
        if (held.length > 3) release(held.shift());
      } else {
        store.catalog.drop(blob.digest);
      }
    };
    for (let n = 0; n < steps; n += 1) {
      await Promise.all([step(), step(), step()]);
      watch.sample();
      if (n % 100 === 99) {
        for (const chunk of held.splice(0)) release(chunk);
        watch.end();
        await watching;
        await store.close();
        watch.sample();
        store = await storeIn(path, { maxBytes, tuning: { indexDelayMs: 5 } });
        watch = new QuotaWatch(t, path, maxBytes);
        watching = watch.run();
      }
    }
    for (const chunk of held.splice(0)) release(chunk);
    watch.end();
    await watching;
    assert.ok(stored > steps / 4, `only ${stored} pieces were stored`);
    const { allocatedBytes } = store.usage();
    assert.ok(allocatedBytes <= maxBytes && allocatedBytes >= allocatedIn(path) - 512 * 1024);
  });
}

function release(chunk: Chunk | undefined): void {
  if (chunk !== undefined && isFileSlice(chunk)) chunk.release();
}

test('many tiny blobs are counted by what they allocate', async (t) => {
  const { path } = await tempFolder(t);
  const maxBytes = 3 * MIB;
  const store = await storeIn(path, { maxBytes, tuning: { indexDelayMs: 1 } });
  t.after(() => store.close());
  const watch = new QuotaWatch(t, path, maxBytes);
  for (let n = 0; n < 700; n += 1) {
    assert.equal(await putPiece(store, blobOf(1 + (n % 50), n), 0), 'stored');
    if (n % 20 === 0) watch.sample();
  }
  await store.flush();
  watch.sample();
  assert.ok(segmentFiles(path).length > 100);
  assert.ok((await metricValue(store.metrics, 'damselfly_evicted_segments_total')) > 100);
});

test('the index counts as well, and makes room for itself before it grows', async (t) => {
  const { path } = await tempFolder(t);
  const maxBytes = 12 * MIB;
  const store = await storeIn(path, { maxBytes, tuning: { indexDelayMs: 3_600_000 } });
  t.after(() => store.close());
  const watch = new QuotaWatch(t, path, maxBytes);
  const watching = watch.run();
  // To the brim, in steps so small that hardly anything is left over.
  for (let n = 0; n < 11; n += 1) await putAll(store, blobOf(MIB, n));
  for (let n = 0; n < 300; n += 1) await putPiece(store, blobOf(4000, n), 0);
  for (let n = 0; n < 600; n += 1) {
    const fact = { key: `reader ${n} ${'k'.repeat(400)}`, value: 'v'.repeat(1500), expiresAtMs: 1e15 };
    store.facts.put('reader', fact);
    if (n % 100 === 99) await store.flush();
  }
  watch.end();
  await watching;
  assert.ok((await metricValue(store.metrics, 'damselfly_evicted_segments_total')) > 0);
});

test('a quota that was lowered holds from the start', async (t) => {
  const { path } = await tempFolder(t);
  const blobs = [blobOf(3 * MIB, 'a'), blobOf(3 * MIB, 'b'), blobOf(3 * MIB, 'c')];
  const first = await storeIn(path);
  for (const blob of blobs) await putAll(first, blob);
  await first.close();
  const second = await storeIn(path, { maxBytes: 5 * MIB });
  t.after(() => second.close());
  assert.ok(allocatedIn(path) <= 5 * MIB);
  const left = await Promise.all(blobs.map(async (blob) => (await goodPieces(second.disk, blob)).length));
  assert.deepEqual(left, [0, 0, 3]);
});

test('what others put into the directory is counted', async (t) => {
  const { path } = await tempFolder(t);
  const maxBytes = 10 * MIB;
  const store = await storeIn(path, { maxBytes, tuning: { maintainMs: 20 } });
  t.after(() => store.close());
  for (let n = 0; n < 6; n += 1) await putAll(store, blobOf(MIB, n));
  writeFileSync(`${path}/somebody-elses`, Buffer.alloc(6 * MIB, 1));
  await eventually(() => allocatedIn(path) <= maxBytes);
  const pieces = store.usage().pieces;
  assert.ok(pieces >= 1 && pieces < 5, `${pieces} pieces are left`);
  // Before its folder goes: it looks so often that it would make it anew.
  await store.close();
});

test('what is being removed already is not removed again by the next one who needs room', async (t) => {
  const { FaultyDisk } = await import('./faulty-disk.ts');
  const { path } = await tempFolder(t);
  const disk = new FaultyDisk();
  const tuning = { maintainMs: 20, indexDelayMs: 3_600_000 };
  const store = await storeIn(path, { disk, maxBytes: 12 * MIB, tuning });
  t.after(() => store.close());
  for (let n = 0; n < 8; n += 1) await putAll(store, blobOf(MIB, n));
  disk.stop('unlink');
  writeFileSync(`${path}/somebody-elses`, Buffer.alloc(5 * MIB, 1));
  await eventually(() => disk.count('unlink') > 0);
  const { pieces } = store.usage();
  assert.ok(pieces >= 5, `${pieces} pieces are left`);
  // The index grows, which needs the quota as well.
  const flushed = store.flush();
  for (let n = 0; n < 50; n += 1) await turn();
  assert.equal(store.usage().pieces, pieces);
  disk.heal();
  await flushed;
  await eventually(() => allocatedIn(path) <= 12 * MIB);
  assert.equal(store.usage().pieces, pieces);
  await store.close();
});

test('a piece that can never fit is declined, and nothing is evicted in vain for long', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path, { maxBytes: MIB });
  t.after(() => store.close());
  assert.equal(await putPiece(store, blobOf(MIB), 0), 'declined');
  assert.equal(await metricValue(store.metrics, 'damselfly_store_declined_total', { reason: 'no-room' }), 1);
  assert.equal(store.usage().degraded, null);
  assert.equal(await putPiece(store, blobOf(100), 0), 'stored');
});

test('free space of the file system is kept for others', async (t) => {
  const { FaultyDisk } = await import('./faulty-disk.ts');
  const { path } = await tempFolder(t);
  const disk = new FaultyDisk();
  const store = await storeIn(path, {
    disk,
    minFreeBytes: 100 * MIB,
    tuning: { probeMs: 1, maintainMs: 10 },
  });
  t.after(() => store.close());
  await putAll(store, blobOf(MIB, 'first'));
  disk.space = { freeBytes: 99 * MIB };
  await eventually(() => store.usage().pieces === 0);
  assert.equal(await putPiece(store, blobOf(MIB, 'second'), 0), 'declined');
  assert.equal(store.usage().degraded, 'disk-full');
  assert.equal(await metricValue(store.metrics, 'damselfly_store_degraded'), 1);
  disk.space = {};
  await eventually(async () => (await putPiece(store, blobOf(MIB, 'third'), 0)) === 'stored');
  assert.equal(store.usage().degraded, null);
  assert.equal(await metricValue(store.metrics, 'damselfly_store_degraded'), 0);
  await store.close();
});

test('with no inode left a file makes room for the next one', async (t) => {
  const { FaultyDisk } = await import('./faulty-disk.ts');
  const { path } = await tempFolder(t);
  const disk = new FaultyDisk();
  disk.space = { freeFiles: 0 };
  const store = await storeIn(path, { disk });
  t.after(() => store.close());
  assert.equal(await putPiece(store, blobOf(10, 'a'), 0), 'declined');
  disk.space = { freeFiles: 1 };
  await store.close();
  const again = await storeIn(path, { disk });
  t.after(() => again.close());
  assert.equal(await putPiece(again, blobOf(10, 'a'), 0), 'stored');
  disk.space = { freeFiles: 0 };
  await again.close();
  const third = await storeIn(path, { disk });
  t.after(() => third.close());
  assert.equal(await putPiece(third, blobOf(10, 'b'), 0), 'stored');
  assert.deepEqual(await goodPieces(third.disk, blobOf(10, 'a')), []);
});
