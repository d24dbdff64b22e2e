import { setTimeout as sleep } from 'node:timers/promises';
import { pieceCount, pieceSpan } from '../../src/blob/piece.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { MemorySource } from '../../src/store/memory-source.ts';
import { SETTLE_MS } from '../../src/store/verifier.ts';
import { openOptions, sha256, storeIn, take } from '../store/support.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { type HarnessWish, pieceSourceConformance, type SourceHarness } from './piece-source.ts';

const traits = { canMiss: true, unknownIsNull: true };

pieceSourceConformance('memory', traits, async ({ blob, missing }) => {
  const source = new MemorySource({ maxBytes: 64 << 20, metrics: new Metrics() });
  for (let piece = 0; piece < pieceCount(blob.size); piece += 1) {
    if (missing.includes(piece)) continue;
    const { start, end } = pieceSpan(piece, blob.size);
    source.admit(blob.digest, blob, piece, blob.bytes.subarray(start, end), { forced: true });
  }
  return { source, close: async () => undefined };
});

/** @param warm every piece was read before and may leave as a slice. */
function disk(warm: boolean, reopened: boolean) {
  return async ({ blob, missing }: HarnessWish): Promise<SourceHarness> => {
    const folder = await tempFolder();
    let store = await storeIn(folder.path);
    store.catalog.record(blob.digest, blob);
    for (let piece = 0; piece < pieceCount(blob.size); piece += 1) {
      if (missing.includes(piece)) continue;
      const { start, end } = pieceSpan(piece, blob.size);
      const bytes = blob.bytes.subarray(start, end);
      const outcome = await store.sink.put(blob, piece, bytes, sha256(bytes));
      if (outcome !== 'stored') throw new Error(`piece ${piece} was ${outcome}`);
    }
    if (reopened) {
      await store.close();
      store = await storeIn(folder.path);
    }
    if (warm) {
      // Trust begins when the file has been left alone for a while.
      await sleep(SETTLE_MS * 1.5);
      for (let piece = 0; piece < pieceCount(blob.size); piece += 1) {
        const opened = await store.disk.open(blob, pieceSpan(piece, blob.size), openOptions());
        if (opened !== null) await take(opened);
      }
    }
    return {
      source: store.disk,
      close: async () => {
        await store.close();
        await folder.remove();
      },
    };
  };
}

pieceSourceConformance('disk, just written', traits, disk(false, false));
pieceSourceConformance('disk, after a restart', traits, disk(false, true));
pieceSourceConformance('disk, warm', traits, disk(true, true));
