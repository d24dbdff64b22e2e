import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { ReadAhead } from '../../src/content/read-ahead.ts';

const MIB = PIECE_BYTES;

function read(
  policy: ReadAhead,
  start: number,
  length: number,
  hinted = false,
  missed = true,
): number | null {
  const wanted = policy.observe({ start, end: start + length }, missed, hinted);
  return wanted === null ? null : wanted.end - wanted.start;
}

describe('ReadAhead', () => {
  it('opens on the second read in a row and doubles up to 8 MiB', () => {
    const policy = new ReadAhead();
    const windows = [0, 1, 2, 3, 4].map((i) => read(policy, i * MIB, MIB));
    assert.deepEqual(windows, [null, 2 * MIB, 4 * MIB, 8 * MIB, 8 * MIB]);
  });

  it('stays shut for what is on the node already, and opens again where that ends', () => {
    const policy = new ReadAhead();
    for (let i = 0; i < 5; i += 1) assert.equal(read(policy, i * MIB, MIB, true, false), null);
    assert.equal(read(policy, 5 * MIB, MIB, false, true), 8 * MIB);
    policy.fetched(6);
    assert.equal(read(policy, 6 * MIB, MIB, false, false), 8 * MIB, 'it was read ahead for this reader');
  });

  it('stays shut for random reads', () => {
    const policy = new ReadAhead();
    for (let i = 0; i < 50; i += 1) assert.equal(read(policy, ((i * 37) % 101) * 10 * MIB, MIB), null);
  });

  it('follows several readers of one blob at once', () => {
    const policy = new ReadAhead();
    read(policy, 0, MIB);
    read(policy, 500 * MIB, MIB);
    assert.equal(read(policy, MIB, MIB), 2 * MIB);
    assert.equal(read(policy, 501 * MIB, MIB), 2 * MIB);
  });

  it('takes a hint, but no more than what gets used', () => {
    const policy = new ReadAhead();
    assert.equal(read(policy, 0, MIB, true), 4 * MIB);
    for (let piece = 1000; piece < 1032; piece += 1) policy.fetched(piece);
    assert.equal(read(policy, 100 * MIB, MIB, true), null);
    assert.equal(read(policy, 1000 * MIB, MIB, true), 4 * MIB, 'a piece was used: the window opens again');
  });
});
