import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ALONE, aheadPieces, fillAheadPieces, isBusy, planRun, SWARM } from '../../src/content/run-plan.ts';

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

  it('takes one piece at a time in a swarm', () => {
    for (const open of [true, false])
      assert.deepEqual(planRun({ first: 3, end: 40, open, readPieces: 64 }, everything, SWARM), {
        first: 3,
        end: 4,
      });
  });

  it('always takes the first piece, even one that another was to deliver', () => {
    assert.deepEqual(
      planRun({ first: 3, end: 4, open: false, readPieces: 0 }, () => false),
      { first: 3, end: 4 },
    );
  });
});

const calm = { underwayPieces: 0, isKept: true };

describe('aheadPieces', () => {
  it('alone is never less than the smallest run, and half of a long one', () => {
    assert.equal(aheadPieces(ALONE, { open: true, whole: false, readPieces: 0 }, calm), 4);
    assert.equal(aheadPieces(ALONE, { open: true, whole: false, readPieces: 100 }, calm), 8);
    assert.equal(
      aheadPieces(
        ALONE,
        { open: false, whole: false, readPieces: 0 },
        { underwayPieces: 500, isKept: false },
      ),
      4,
    );
  });

  it('in a swarm opens a window by two pieces for each that an open read has got', () => {
    const windows = [0, 1, 8, 19, 20, 1000].map(
      (readPieces) => aheadPieces(SWARM, { open: true, whole: false, readPieces }, calm) + 1,
    );
    assert.deepEqual(windows, [8, 10, 24, 46, 48, 48]);
    const wide = { ...SWARM, firstPieces: 4, maxPieces: 64 };
    assert.equal(aheadPieces(wide, { open: true, whole: false, readPieces: 3 }, calm) + 1, 10);
    assert.equal(aheadPieces(wide, { open: true, whole: false, readPieces: 64 }, calm) + 1, 64);
  });

  it('in a swarm begins wider for a whole blob, whose reader will hardly hang up', () => {
    const whole = { open: true, whole: true, readPieces: 0 };
    assert.equal(aheadPieces(SWARM, whole, calm) + 1, 16);
    assert.equal(aheadPieces(SWARM, { ...whole, readPieces: 16 }, calm) + 1, 48);
  });

  it('in a swarm gives a closed range all of the window at once', () => {
    assert.equal(aheadPieces(SWARM, { open: false, whole: false, readPieces: 0 }, calm) + 1, 48);
  });

  it('in a swarm looks a few pieces ahead when nothing keeps them, or the node has plenty under way', () => {
    for (const open of [true, false]) {
      const progress = { open, whole: false, readPieces: 100 };
      assert.equal(aheadPieces(SWARM, progress, { underwayPieces: 0, isKept: false }) + 1, 4);
      assert.equal(aheadPieces(SWARM, progress, { underwayPieces: 128, isKept: true }) + 1, 4);
      assert.equal(
        aheadPieces({ ...SWARM, maxPieces: 2 }, progress, { underwayPieces: 0, isKept: false }),
        1,
      );
    }
  });
});

describe('fillAheadPieces', () => {
  it('waits piece by piece alone, and where nothing is gained by more', () => {
    assert.equal(fillAheadPieces(ALONE, calm), 0);
    assert.equal(fillAheadPieces(SWARM, { underwayPieces: 128, isKept: true }), 0);
    assert.equal(fillAheadPieces(SWARM, { underwayPieces: 0, isKept: false }), 0);
  });

  it('has a window in a swarm', () => {
    assert.equal(fillAheadPieces(SWARM, calm) + 1, 16);
  });
});

describe('isBusy', () => {
  it('counts requests alone, and pieces in a swarm, where each has a flight of its own', () => {
    assert.equal(isBusy(ALONE, { flights: 3, pieces: 48 }), false);
    assert.equal(isBusy(ALONE, { flights: 4, pieces: 4 }), true);
    assert.equal(isBusy(SWARM, { flights: 8, pieces: 8 }), false);
    assert.equal(isBusy(SWARM, { flights: 32, pieces: 32 }), true);
  });
});
