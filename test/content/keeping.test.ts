import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { Keeping } from '../../src/content/keeping.ts';
import { testBlob } from './fakes.ts';

const { digest } = testBlob(1);
const other = testBlob(2).digest;

describe('Keeping', () => {
  it('puts no bound to what the disk takes, nor to what nobody has tried yet', () => {
    const keeping = new Keeping(0);
    assert.equal(keeping.aheadBytes(digest), Number.POSITIVE_INFINITY);
    assert.equal(keeping.passesThrough(digest), false);
    keeping.note(digest, 'disk');
    assert.equal(keeping.aheadBytes(digest), Number.POSITIVE_INFINITY);
    assert.equal(keeping.passesThrough(digest), false);
  });

  it('trusts a disk that takes pieces again by and by, and one that declines some of them only so far', () => {
    const keeping = new Keeping(0);
    const ahead: number[] = [];
    keeping.note(digest, 'nowhere');
    for (let n = 0; n < 16; n += 1) {
      keeping.note(digest, 'disk');
      assert.equal(keeping.passesThrough(digest), false);
      ahead.push(keeping.aheadBytes(digest) / PIECE_BYTES);
    }
    assert.deepEqual(ahead, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, Number.POSITIVE_INFINITY]);
    keeping.note(digest, 'nowhere');
    for (let n = 0; n < 7; n += 1) keeping.note(digest, 'disk');
    keeping.note(digest, 'nowhere');
    keeping.note(digest, 'disk');
    assert.equal(keeping.aheadBytes(digest), 0);
  });

  it('lets a share of the memory tier be read ahead where only that takes pieces, still whole ones', () => {
    const keeping = new Keeping(16 * PIECE_BYTES);
    keeping.note(digest, 'memory');
    assert.equal(keeping.aheadBytes(digest), 4 * PIECE_BYTES);
    assert.equal(keeping.passesThrough(digest), false);
  });

  it('lets nothing be read ahead of a blob that is kept nowhere, and a whole piece be read now and then', () => {
    let nowMs = 1_000;
    const keeping = new Keeping(16 * PIECE_BYTES, () => nowMs);
    keeping.note(digest, 'nowhere');
    assert.equal(keeping.aheadBytes(digest), 0);
    assert.equal(keeping.aheadBytes(other), Number.POSITIVE_INFINITY);
    const wholeAtMs: number[] = [];
    for (; nowMs < 8_000; nowMs += 100) if (!keeping.passesThrough(digest)) wholeAtMs.push(nowMs);
    assert.deepEqual(wholeAtMs, [3_000, 5_000, 7_000]);
    // It was not kept either: the next one is as far away as after the first.
    keeping.note(digest, 'nowhere');
    assert.equal(keeping.passesThrough(digest), true);
  });
});
