import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { ArrivingPiece } from '../../src/content/arriving-piece.ts';
import { PieceBuffers } from '../../src/content/piece-buffers.ts';

describe('ArrivingPiece', () => {
  it('shows exactly the bytes that are here, whatever the order and size of the chunks', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5000 }),
        fc.nat(),
        fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 700 })), { minLength: 1, maxLength: 60 }),
        async (length, at, steps) => {
          const turn = at % length;
          const bytes = Buffer.from(Array.from({ length }, (_, i) => (i * 31 + length) & 0xff));
          const piece = new ArrivingPiece(0, length, turn, new PieceBuffers());
          const here = new Array<boolean>(length).fill(false);
          let tail = turn;
          let head = 0;
          for (const [tailFirst, size] of [...steps, [true, length], [false, length]] as [
            boolean,
            number,
          ][]) {
            const [from, limit] = tailFirst ? [tail, length] : [head, turn];
            const end = Math.min(from + size, limit);
            if (end === from) continue;
            piece.write(from, bytes.subarray(from, end));
            here.fill(true, from, end);
            if (tailFirst) tail = end;
            else head = end;
            for (const offset of [0, turn, Math.max(0, turn - 1), Math.floor(length / 2), length - 1]) {
              let expected = offset;
              while (expected < length && here[expected] === true) expected += 1;
              assert.equal(piece.filledFrom(offset), expected);
            }
          }
          assert.ok(piece.isComplete);
          assert.ok(piece.bytes.equals(bytes));
          assert.ok((await piece.sha256()).equals(createHash('sha256').update(bytes).digest()));
        },
      ),
      { numRuns: 200 },
    );
  });

  it('refuses bytes that do not continue it', () => {
    const piece = new ArrivingPiece(0, 100, 50, new PieceBuffers());
    assert.throws(() => piece.write(60, Buffer.alloc(10)), RangeError);
    assert.throws(() => piece.write(50, Buffer.alloc(51)), RangeError);
    assert.throws(() => piece.write(0, Buffer.alloc(51)), RangeError);
  });

  it('takes a verified piece as it is: the same buffer, and the digest that came with it', async () => {
    const bytes = Buffer.alloc(100, 7);
    const sha256 = Buffer.alloc(32, 1);
    const verified = { index: 4, bytes, sha256 };
    const piece = new ArrivingPiece(4, 100, 50, new PieceBuffers(), verified);
    assert.ok(piece.isComplete);
    assert.equal(piece.filledFrom(0), 100);
    assert.equal(piece.bytes, bytes);
    assert.equal(await piece.sha256(), sha256);
  });

  it('is completed from a copy that agrees with what is here, and from no other', () => {
    const bytes = Buffer.from(Array.from({ length: 100 }, (_, i) => i));
    for (const turn of [0, 40]) {
      const begun = (): ArrivingPiece => {
        const piece = new ArrivingPiece(0, 100, turn, new PieceBuffers());
        piece.write(turn, bytes.subarray(turn, turn + 20));
        if (turn > 0) piece.write(0, bytes.subarray(0, 10));
        return piece;
      };
      for (let at = 0; at < 100; at += 1) {
        const copy = Buffer.from(bytes);
        copy[at] = 255;
        const isHere = (at >= turn && at < turn + 20) || (turn > 0 && at < 10);
        const piece = begun();
        assert.equal(piece.completeFrom(copy), !isHere, `turn ${turn}, byte ${at}`);
        assert.equal(piece.isComplete, !isHere);
        if (!isHere) assert.ok(piece.bytes.equals(copy));
      }
    }
  });

  it('gives its buffer back when the last holder lets go, and never one that was kept', () => {
    const buffers = new PieceBuffers();
    const first = new ArrivingPiece(0, PIECE_BYTES, 0, buffers);
    first.hold();
    first.letGo();
    assert.notEqual(buffers.take(PIECE_BYTES), first.bytes, 'still held');
    first.letGo();
    assert.equal(buffers.take(PIECE_BYTES), first.bytes);
    const kept = new ArrivingPiece(1, PIECE_BYTES, 0, buffers);
    kept.keepForever();
    kept.letGo();
    assert.notEqual(buffers.take(PIECE_BYTES), kept.bytes);
  });
});
