import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OriginWidth } from '../../../peer/planner/origin-width.ts';
import { SEGMENT_PIECES } from '../../../src/blob/piece.ts';

describe('OriginWidth', () => {
  function after(width: OriginWidth, reads: number, tookMs: number): number {
    for (let read = 0; read < reads; read += 1) width.took(tookMs);
    return width.pieces;
  }

  it('widens where reads are quick, as far as a segment goes', () => {
    const width = new OriginWidth();
    const first = width.pieces;
    assert.equal(after(width, 3, 50), first);
    assert.equal(after(width, 1, 50), first + 1);
    assert.equal(after(width, 200, 50), SEGMENT_PIECES);
  });

  it('stays where they are neither quick nor slow', () => {
    const width = new OriginWidth();
    const wide = after(width, 16, 50);
    assert.equal(after(width, 100, 400), wide);
  });

  it('narrows where they are slow, down to what it began with', () => {
    const width = new OriginWidth();
    const first = width.pieces;
    const wide = after(width, 16, 50);
    assert.equal(after(width, 2, 2_000), wide - 1);
    assert.equal(after(width, 200, 2_000), first);
  });
});
