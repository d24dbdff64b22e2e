import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../src/blob/digest.ts';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { ArrivingPiece } from '../../src/content/arriving-piece.ts';
import { FreshPieces } from '../../src/content/fresh-pieces.ts';
import { PieceBuffers } from '../../src/content/piece-buffers.ts';

const digest = digestOf(Buffer.from('fresh'));

class CountingBuffers extends PieceBuffers {
  out = 0;
  override take(length: number): Buffer {
    this.out += 1;
    return super.take(length);
  }
  override give(buffer: Buffer): void {
    this.out -= 1;
    super.give(buffer);
  }
}

/** As its flight leaves it: with nobody else holding it. */
function add(fresh: FreshPieces, buffers: PieceBuffers, index: number): ArrivingPiece {
  const piece = new ArrivingPiece(index, PIECE_BYTES, 0, buffers);
  fresh.add(digest, piece, 48);
  piece.letGo();
  return piece;
}

test('a fresh piece keeps its buffer until it is removed, replaced, or one of too many', () => {
  const buffers = new CountingBuffers();
  const fresh = new FreshPieces();
  const first = add(fresh, buffers, 0);
  assert.equal(fresh.get(digest, 0), first);
  assert.equal(fresh.get(digest, 1), undefined);
  assert.equal(buffers.out, 1);
  const again = add(fresh, buffers, 0);
  assert.equal(fresh.get(digest, 0), again);
  assert.equal(buffers.out, 1);
  for (let index = 1; index < 100; index += 1) add(fresh, buffers, index);
  assert.equal(buffers.out, 48);
  assert.equal(fresh.get(digest, 0), undefined, 'the oldest goes first');
  fresh.remove(digest, 99);
  assert.equal(fresh.get(digest, 99), undefined);
  fresh.clear();
  assert.equal(buffers.out, 0);
});

test('who holds a piece keeps its buffer also after it has gone', () => {
  const buffers = new CountingBuffers();
  const fresh = new FreshPieces();
  const piece = add(fresh, buffers, 7);
  piece.hold();
  fresh.clear();
  assert.equal(buffers.out, 1);
  piece.letGo();
  assert.equal(buffers.out, 0);
});
