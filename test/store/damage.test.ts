import assert from 'node:assert/strict';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { hasCode } from '../../src/errors.ts';
import type { Store } from '../../src/store/store.ts';
import { SETTLE_MS } from '../../src/store/verifier.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { FaultyDisk } from './faulty-disk.ts';
import {
  blobOf,
  bytesOf,
  goodPieces,
  metricValue,
  openSpan,
  pieceOf,
  putAll,
  putPiece,
  readPiece,
  segmentFiles,
  storeIn,
  take,
} from './support.ts';

const blob = blobOf(5 * PIECE_BYTES + 77);
const ALL = [0, 1, 2, 3, 4, 5];

/** Flips one byte in place, as a bad disk or a careless hand would. */
function flip(file: string, offset: number): void {
  const fd = openSync(file, 'r+');
  try {
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, offset);
    byte.writeUInt8(byte.readUInt8() ^ 0x40);
    writeSync(fd, byte, 0, 1, offset);
  } finally {
    closeSync(fd);
  }
}

function onlyFile(dir: string): string {
  const [file, ...others] = segmentFiles(dir);
  assert.ok(file !== undefined && others.length === 0);
  return file;
}

/** What happens to a file, and which pieces can't be the same afterwards. */
const DAMAGES: Record<string, { damage: (file: string) => void; lost: readonly number[] }> = {
  'a flipped byte': { damage: (file) => flip(file, 2 * PIECE_BYTES + 1000), lost: [2] },
  'a flipped byte, with the times set back': {
    damage: (file) => {
      const { atime, mtime } = statSync(file);
      flip(file, PIECE_BYTES);
      utimesSync(file, atime, mtime);
    },
    lost: [1],
  },
  'a truncated file': { damage: (file) => truncateSync(file, 3 * PIECE_BYTES + 5), lost: [3, 4, 5] },
  'an emptied file': { damage: (file) => writeFileSync(file, ''), lost: ALL },
  'a deleted file': { damage: (file) => unlinkSync(file), lost: ALL },
  'another file of the same size': {
    damage: (file) => {
      const other = Buffer.from(readFileSync(file));
      other.fill(7, 0, 2 * PIECE_BYTES);
      writeFileSync(`${file}.new`, other);
      renameSync(`${file}.new`, file);
    },
    lost: [0, 1],
  },
  'a link to a copy of itself': {
    damage: (file) => {
      copyFileSync(file, `${file}.copy`);
      unlinkSync(file);
      symlinkSync(`${file}.copy`, file);
    },
    lost: ALL,
  },
  'a directory in its place': {
    damage: (file) => {
      unlinkSync(file);
      mkdirSync(file);
    },
    lost: ALL,
  },
};

for (const [what, { damage, lost }] of Object.entries(DAMAGES)) {
  test(`${what} between two runs is found before a byte leaves, and mended by a put`, async (t) => {
    const { path } = await tempFolder(t);
    const first = await storeIn(path);
    await putAll(first, blob);
    await first.close();
    damage(onlyFile(path));

    const store = await storeIn(path);
    t.after(() => store.close());
    await expectLost(store, lost);
    await mend(t, store, path);
  });
}

for (const what of [
  'a flipped byte',
  'a flipped byte, with the times set back',
  'a truncated file',
  'an emptied file',
]) {
  const { damage, lost } = DAMAGES[what] ?? assert.fail();
  test(`${what} under a running store is found before a byte leaves`, async (t) => {
    const { path } = await tempFolder(t);
    const store = await storeIn(path);
    t.after(() => store.close());
    await putAll(store, blob);
    // Warm: every piece is trusted and leaves as a slice.
    await sleep(SETTLE_MS * 1.5);
    assert.deepEqual(await goodPieces(store.disk, blob), ALL);
    const opened = await openSpan(store.disk, blob, { start: 0, end: blob.size });
    assert.ok(opened !== null && (await take(opened)).slices > 0, 'not warm');

    damage(onlyFile(path));
    await expectLost(store, lost);
    await mend(t, store, path);
  });
}

test('a byte flipped right after the write is found', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  await putAll(store, blob);
  flip(onlyFile(path), 0);
  await expectLost(store, [0]);
});

for (const [clock, tickNs] of [
  ['fine', 1n],
  ['coarse', 10_000_000n],
] as const) {
  test(`a byte flipped right after a read is found, with ${clock} file times`, async (t) => {
    const { path } = await tempFolder(t);
    const disk = new FaultyDisk();
    disk.tickNs = tickNs;
    const store = await storeIn(path, { disk });
    t.after(() => store.close());
    await putAll(store, blob);
    for (let round = 0; round < 20; round += 1) {
      if (!store.catalog.hasPiece(blob.digest, 0)) await putPiece(store, blob, 0);
      const piece = await readPiece(store.disk, blob, 0);
      assert.ok(piece?.equals(pieceOf(blob, 0)));
      flip(onlyFile(path), round);
      assert.equal(await readPiece(store.disk, blob, 0), null);
    }
  });
}

test('a byte flipped with exactly the old time of change put back is found', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  await putAll(store, blob);
  const file = onlyFile(path);
  const longAgo = 1_700_000_000;
  utimesSync(file, longAgo, longAgo);
  await sleep(SETTLE_MS * 1.5);
  assert.deepEqual(await goodPieces(store.disk, blob), ALL);
  flip(file, 7);
  utimesSync(file, longAgo, longAgo);
  await expectLost(store, [0]);
});

test('a file deleted or replaced under a running store never leads to wrong bytes', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  await putAll(store, blob);
  await goodPieces(store.disk, blob);
  rmSync(onlyFile(path));
  // The open descriptor still has the right bytes; once noticed, the segment is gone.
  await goodPieces(store.disk, blob);
  assert.deepEqual(await goodPieces(store.disk, blob), []);
  assert.equal(store.usage().pieces, 0);
  await putAll(store, blob);
  assert.deepEqual(await goodPieces(store.disk, blob), ALL);
});

test('the directory of the segments deleted under a running store is made again', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  rmSync(`${path}/segments`, { recursive: true });
  await putAll(store, blob);
  assert.deepEqual(await goodPieces(store.disk, blob), ALL);
});

test('damage under an open read ends it with a throw at the damaged piece', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  await putAll(store, blob);
  await sleep(SETTLE_MS * 1.5);
  assert.deepEqual(await goodPieces(store.disk, blob), ALL);
  const opened = await openSpan(store.disk, blob, { start: 0, end: blob.size });
  assert.equal(opened?.span.end, blob.size);
  flip(onlyFile(path), 5 * PIECE_BYTES);
  const parts: Buffer[] = [];
  await assert.rejects(
    async () => {
      for await (const chunk of opened.chunks) parts.push(await bytesOf(chunk));
    },
    (error) => hasCode(error, 'store-corrupt'),
  );
  assert.ok(Buffer.concat(parts).equals(blob.bytes.subarray(0, 5 * PIECE_BYTES)));
  assert.equal(store.catalog.hasPiece(blob.digest, 5), false);
});

test('a part of a trusted piece that is changed while it is read is not served', async (t) => {
  const { path } = await tempFolder(t);
  const disk = new FaultyDisk();
  const store = await storeIn(path, { disk, residentBytes: 1 });
  t.after(() => store.close());
  await putAll(store, blob);
  await sleep(SETTLE_MS * 1.5);
  assert.deepEqual(await goodPieces(store.disk, blob), ALL);
  const read = disk.read.bind(disk);
  disk.read = (fd, into, position) => {
    disk.read = read;
    flip(onlyFile(path), 10);
    return read(fd, into, position);
  };
  assert.equal(await openSpan(store.disk, blob, { start: 0, end: 4096 }), null);
  assert.equal(store.catalog.hasPiece(blob.digest, 0), false);
});

test('a reader that goes on finds the next piece checked', async (t) => {
  const { path } = await tempFolder(t);
  const first = await storeIn(path);
  await putAll(first, blob);
  await first.close();
  await sleep(SETTLE_MS * 1.5);
  const disk = new FaultyDisk();
  const store = await storeIn(path, { disk });
  t.after(() => store.close());
  const opened = await openSpan(store.disk, blob, { start: 0, end: blob.size });
  assert.equal(opened?.span.end, PIECE_BYTES);
  opened.close();
  await eventually(() => disk.count('read') === 2);
  assert.ok((await readPiece(store.disk, blob, 1))?.equals(pieceOf(blob, 1)));
  assert.equal(disk.count('read'), 2);
});

test('no wrong byte leaves while writes, reads and damage go on together', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path, { tuning: { settleMs: 20 } });
  t.after(() => store.close());
  const random = new Random('damage');
  const wide = blobOf(16 * PIECE_BYTES, 'wide');
  let damaged = 0;
  let served = 0;
  let over = false;
  const writer = async (): Promise<void> => {
    while (!over) {
      await putPiece(store, wide, random.integer(0, 16));
      await sleep(random.integer(0, 4));
    }
  };
  const reader = async (): Promise<void> => {
    while (!over) {
      await sleep(0);
      const piece = random.integer(0, 16);
      const start = piece * PIECE_BYTES + random.integer(0, PIECE_BYTES - 5000);
      const span = { start, end: Math.min(wide.size, start + random.pick([4096, 2 * PIECE_BYTES])) };
      const opened = await openSpan(store.disk, wide, span);
      if (opened === null) continue;
      try {
        const { bytes } = await take(opened);
        const { start: from, end: to } = opened.span;
        assert.ok(bytes.equals(wide.bytes.subarray(from, to)), `wrong bytes of ${from}-${to}`);
        served += 1;
      } catch (error) {
        if (!hasCode(error, 'store-corrupt')) throw error;
      }
    }
  };
  const vandal = async (): Promise<void> => {
    for (let round = 0; round < 40 && !over; round += 1) {
      await sleep(random.integer(0, 12));
      const file = segmentFiles(path)[0];
      if (file === undefined) continue;
      flip(file, random.integer(0, 16) * PIECE_BYTES + random.integer(0, 5000));
      damaged += 1;
    }
  };
  const workers = [writer, reader, reader, reader, vandal].map(async (work) => {
    try {
      await work();
    } finally {
      over = true;
    }
  });
  await Promise.all(workers);
  assert.ok(damaged > 10 && served > 10, `${damaged} damaged, ${served} served`);
  await goodPieces(store.disk, wide);
});

async function expectLost(
  store: Awaited<ReturnType<typeof storeIn>>,
  lost: readonly number[],
): Promise<void> {
  const good = await goodPieces(store.disk, blob);
  assert.deepEqual(
    good,
    ALL.filter((piece) => !lost.includes(piece)),
  );
  for (const piece of lost) assert.equal(store.catalog.hasPiece(blob.digest, piece), false);
  assert.equal(store.catalog.isComplete(blob.digest), false);
  const counted = await metricValue(store.metrics, 'damselfly_store_corrupt_pieces_total');
  // A file missing at start is noticed without any of its pieces being asked for.
  assert.ok(counted === lost.length || (lost.length === ALL.length && counted === 0), `counted ${counted}`);
}

async function mend(t: TestContext, store: Store, path: string): Promise<void> {
  for (const piece of ALL) assert.equal(await putPiece(store, blob, piece), 'stored');
  assert.deepEqual(await goodPieces(store.disk, blob), ALL);
  await store.close();
  const again = await storeIn(path);
  t.after(() => again.close());
  assert.deepEqual(await goodPieces(again.disk, blob), ALL);
  assert.ok((await pieceBytes(again)).equals(pieceOf(blob, 0)));
}

async function pieceBytes(store: Store): Promise<Buffer> {
  const opened = await openSpan(store.disk, blob, { start: 0, end: PIECE_BYTES });
  assert.ok(opened);
  return (await take(opened)).bytes;
}
