import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { PieceBuffers } from '../../src/content/piece-buffers.ts';

function lend(pool: PieceBuffers, count: number): void {
  const taken = Array.from({ length: count }, () => pool.take(PIECE_BYTES));
  for (const buffer of taken) pool.give(buffer);
}

describe('PieceBuffers', () => {
  it('keeps what a window uses, and no more', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const pool = new PieceBuffers();
    lend(pool, 80);
    assert.equal(pool.freeBytes, 64 * PIECE_BYTES);
    pool.give(Buffer.alloc(10));
    assert.equal(pool.freeBytes, 64 * PIECE_BYTES);
    assert.equal(pool.take(10).length, 10);
  });

  it('lets go of what has not been needed for a while, and of all when idle', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const pool = new PieceBuffers();
    lend(pool, 40);
    t.mock.timers.tick(5_000);
    lend(pool, 10);
    t.mock.timers.tick(5_000);
    assert.equal(pool.freeBytes, 10 * PIECE_BYTES);
    t.mock.timers.tick(10_000);
    assert.equal(pool.freeBytes, 0);
    lend(pool, 3);
    assert.equal(pool.freeBytes, 3 * PIECE_BYTES);
    for (let n = 0; n < 2; n += 1) t.mock.timers.tick(5_000);
    assert.equal(pool.freeBytes, 0);
  });
});
