import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Digest } from '../../src/blob/digest.ts';
import { PIECE_BYTES, SEGMENT_BYTES } from '../../src/blob/piece.ts';
import { hasCode } from '../../src/errors.ts';
import { realDisk } from '../../src/store/disk-layer.ts';
import type { Store } from '../../src/store/store.ts';
import { runsOf, type VerifyEvent } from '../../src/store/verify.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { blobOf, goodPieces, putAll, putPiece, readPiece, sha256, storeIn } from './support.ts';

const SETTINGS = { bytesPerSecond: Number.POSITIVE_INFINITY, signal: new AbortController().signal };

async function verify(
  store: Store,
  digests: readonly Digest[] = store.care.digests(),
  settings: Partial<Parameters<Store['care']['verify']>[1]> = {},
): Promise<VerifyEvent[]> {
  const events: VerifyEvent[] = [];
  for await (const event of store.care.verify(digests, { ...SETTINGS, ...settings })) events.push(event);
  return events;
}

function segmentFile(dir: string, digest: Digest, segment: number): string {
  const hex = digest.slice('sha256:'.length);
  const name = readdirSync(join(dir, 'segments')).find((one) => one.startsWith(`${hex}.${segment}.`));
  assert.ok(name !== undefined, `segment ${segment} has a file`);
  return join(dir, 'segments', name);
}

function flip(file: string, offset: number): void {
  const bytes = readFileSync(file);
  bytes[offset] = (bytes[offset] ?? 0) ^ 0xff;
  writeFileSync(file, bytes);
}

test('a sound store is found sound, to the byte', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const [one, two] = [blobOf(3 * PIECE_BYTES + 5, 'one'), blobOf(100, 'two')];
  await putAll(store, one);
  await putPiece(store, two, 0);
  const events = await verify(store);
  assert.deepEqual(
    events.map(({ event }) => event).filter((event) => event !== 'progress'),
    ['start', 'done'],
  );
  assert.deepEqual(events.at(-1), {
    event: 'done',
    blobs: 2,
    blobsDone: 2,
    bytesTotal: one.size + two.size,
    bytesDone: one.size + two.size,
    badBlobs: 0,
    badPieces: 0,
    newlyProven: 2,
  });
  assert.ok(store.catalog.isProven(one.digest));
  assert.deepEqual(await goodPieces(store.disk, one), [0, 1, 2, 3]);
});

test('a flipped byte costs its piece, a lost file its segment, and nothing else', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const flipped = blobOf(5 * PIECE_BYTES, 'flipped');
  const lost = blobOf(SEGMENT_BYTES + 2 * PIECE_BYTES, 'lost');
  for (const blob of [flipped, lost]) await putAll(store, blob);
  // Read once: what was found right before must be looked at again.
  assert.equal((await goodPieces(store.disk, flipped)).length, 5);
  flip(segmentFile(path, flipped.digest, 0), 2 * PIECE_BYTES + 7);
  rmSync(segmentFile(path, lost.digest, 0));
  const events = await verify(store, [flipped.digest, lost.digest]);
  const bad = events.filter((event) => event.event === 'bad');
  assert.deepEqual(bad, [
    { event: 'bad', digest: flipped.digest, reason: 'damaged', pieces: [{ first: 2, end: 3 }] },
    { event: 'bad', digest: lost.digest, reason: 'missing', pieces: [{ first: 0, end: 16 }] },
  ]);
  const done = events.at(-1);
  assert.ok(done?.event === 'done');
  assert.deepEqual([done.badBlobs, done.badPieces, done.newlyProven], [2, 17, 0]);
  assert.equal(done.bytesDone, done.bytesTotal);
  assert.deepEqual(await goodPieces(store.disk, flipped), [0, 1, 3, 4]);
  assert.deepEqual(await goodPieces(store.disk, lost), [16, 17]);
  assert.equal(await readPiece(store.disk, flipped, 2), null);
  const again = (await verify(store)).at(-1);
  assert.ok(again?.event === 'done' && again.badPieces === 0);
});

test('pieces that are as they arrived and are not the blob are dropped with it', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const blob = blobOf(2 * PIECE_BYTES, 'named');
  const other = blobOf(2 * PIECE_BYTES, 'stored');
  for (const piece of [0, 1]) {
    const bytes = other.bytes.subarray(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES);
    await store.sink.put(blob, piece, bytes, sha256(bytes));
  }
  const dropped: Digest[] = [];
  const events = await verify(store, [blob.digest], {
    drop: (digest) => {
      dropped.push(digest);
      store.catalog.drop(digest);
    },
  });
  assert.deepEqual(
    events.filter(({ event }) => event === 'bad'),
    [{ event: 'bad', digest: blob.digest, reason: 'not-the-blob', pieces: [{ first: 0, end: 2 }] }],
  );
  assert.deepEqual(dropped, [blob.digest]);
  assert.equal(store.catalog.hasAny(blob.digest), false);
});

test('a part of a blob is checked and not taken for a proof', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const blob = blobOf(3 * PIECE_BYTES, 'part');
  await putPiece(store, blob, 1);
  const done = (await verify(store)).at(-1);
  assert.ok(done?.event === 'done');
  assert.deepEqual([done.bytesDone, done.newlyProven], [PIECE_BYTES, 0]);
  assert.equal(store.catalog.isProven(blob.digest), false);
});

test('it goes no faster than told, waits for readers, and stops when told', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const blob = blobOf(4 * PIECE_BYTES, 'slow');
  await putAll(store, blob);
  store.catalog.markProven(blob.digest);
  const begunMs = performance.now();
  await verify(store, [blob.digest], { bytesPerSecond: 20 * PIECE_BYTES });
  // Four pieces at twenty a second; what a burst may be ahead, at most half a second, is not given at the start.
  assert.ok(performance.now() - begunMs >= 145, 'paced');
  const stop = new AbortController();
  const seen: VerifyEvent[] = [];
  await assert.rejects(
    async () => {
      for await (const event of store.care.verify([blob.digest], {
        bytesPerSecond: PIECE_BYTES / 10,
        signal: stop.signal,
      })) {
        seen.push(event);
        if (event.event === 'progress') stop.abort(new Error('enough'));
      }
    },
    { message: 'enough' },
  );
  assert.ok(!seen.some(({ event }) => event === 'done'));
});

test('a disk that fails in the middle ends it with a code, and good pieces stay', async (t) => {
  const { path } = await tempFolder(t);
  const blob = blobOf(PIECE_BYTES, 'fine');
  const first = await storeIn(path);
  await putAll(first, blob);
  await first.close();
  flip(segmentFile(path, blob.digest, 0), 1);
  let broken = true;
  const disk = {
    ...realDisk,
    open: async (file: string, mode: 'create' | 'existing') => {
      if (broken) throw Object.assign(new Error('no descriptors'), { code: 'EMFILE' });
      return await realDisk.open(file, mode);
    },
  };
  const store = await storeIn(path, { disk });
  t.after(() => store.close());
  await assert.rejects(verify(store), (error) => hasCode(error, 'store-unreadable'));
  broken = false;
  flip(segmentFile(path, blob.digest, 0), 1);
  assert.deepEqual(await goodPieces(store.disk, blob), [0]);
});

test('pieces are told as runs', () => {
  assert.deepEqual(runsOf([7, 1, 2, 0, 9, 8]), [
    { first: 0, end: 3 },
    { first: 7, end: 10 },
  ]);
  assert.deepEqual(runsOf([]), []);
});
