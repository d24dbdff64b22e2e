import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { leadPieces, planRun } from '../../src/content/run-plan.ts';

const everything = (): boolean => true;

describe('planRun', () => {
  it('asks for all that a closed range wants, up to the segment', () => {
    assert.deepEqual(planRun({ first: 3, end: 9, open: false, readPieces: 0 }, everything), {
      first: 3,
      end: 9,
    });
    assert.deepEqual(planRun({ first: 14, end: 40, open: false, readPieces: 0 }, everything), {
      first: 14,
      end: 16,
    });
  });

  it('grows with an open read, ending at multiples of its own length', () => {
    const runs: number[][] = [];
    for (let first = 0; first < 64; ) {
      const { end } = planRun({ first, end: 64, open: true, readPieces: first }, everything);
      runs.push([first, end]);
      first = end;
    }
    assert.deepEqual(runs, [
      [0, 4],
      [4, 8],
      [8, 16],
      [16, 32],
      [32, 48],
      [48, 64],
    ]);
  });

  it('brings an open read that begins in the middle back to a multiple', () => {
    assert.deepEqual(planRun({ first: 5, end: 64, open: true, readPieces: 0 }, everything), {
      first: 5,
      end: 8,
    });
  });

  it('stops at what is here or arriving', () => {
    assert.deepEqual(
      planRun({ first: 3, end: 9, open: false, readPieces: 0 }, (piece) => piece !== 6),
      { first: 3, end: 6 },
    );
  });

  it('always takes the first piece, even one that another was to deliver', () => {
    assert.deepEqual(
      planRun({ first: 3, end: 4, open: false, readPieces: 0 }, () => false),
      { first: 3, end: 4 },
    );
  });
});

describe('leadPieces', () => {
  it('is never less than the smallest run, and half of a long one', () => {
    assert.equal(leadPieces(0), 4);
    assert.equal(leadPieces(100), 8);
  });
});
