import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { PIECE_BYTES, pieceCount } from '../../src/blob/piece.ts';
import { Proof } from '../../src/content/proof.ts';
import { testBlob } from './fakes.ts';

const blob = testBlob(5 * PIECE_BYTES + 77);
const pieceOf = (piece: number): Buffer =>
  blob.bytes.subarray(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES);

describe('Proof', () => {
  it('proves the blob whatever was offered, in whatever order, and reads the rest', async () => {
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray([0, 1, 2, 3, 4, 5]), async (offered) => {
        const proof = new Proof(blob);
        for (const piece of offered) proof.offer(piece, pieceOf(piece));
        const read: number[] = [];
        const verdict = await proof.conclude(async (piece) => {
          read.push(piece);
          return pieceOf(piece);
        });
        assert.equal(verdict, 'proven');
        assert.equal(read.length + offered.length, pieceCount(blob.size));
        assert.equal(await proof.conclude(() => Promise.reject(new Error('asked again'))), 'proven');
      }),
      { numRuns: 30 },
    );
  });

  it('keeps those that come next when many wait, and lets go of the others', async () => {
    const many = testBlob(20 * PIECE_BYTES, 5);
    const proof = new Proof(many);
    const span = (piece: number): Buffer =>
      many.bytes.subarray(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES);
    const released: number[] = [];
    for (let piece = 19; piece > 0; piece -= 1)
      proof.offer(piece, span(piece), () => {
        released.push(piece);
      });
    assert.deepEqual(released, [19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9]);
    proof.offer(19, span(19), () => released.push(-1));
    assert.equal(released.pop(), -1, 'one that comes later than all has no place');
    const read: number[] = [];
    const verdict = await proof.conclude(async (piece) => {
      read.push(piece);
      return span(piece);
    });
    assert.equal(verdict, 'proven');
    assert.deepEqual(read, [0, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    assert.equal(released.length, 19);
  });

  it('gives all who conclude at once the same verdict', async () => {
    const proof = new Proof(blob);
    const verdicts = await Promise.all([1, 2, 3].map(() => proof.conclude(async (piece) => pieceOf(piece))));
    assert.deepEqual(verdicts, ['proven', 'proven', 'proven']);
  });

  it('finds one wrong byte', async () => {
    const proof = new Proof(blob);
    const wrong = Buffer.from(pieceOf(3));
    wrong[17] = (wrong[17] ?? 0) ^ 1;
    proof.offer(3, wrong);
    assert.equal(await proof.conclude(async (piece) => pieceOf(piece)), 'mismatch');
  });
});
