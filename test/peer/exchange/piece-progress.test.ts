import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_DATA_BYTES } from '../../../peer/exchange/frame.ts';
import { PieceProgress } from '../../../peer/exchange/piece-progress.ts';

function setUp(wants: () => boolean = () => true) {
  const counted: number[] = [];
  const told: number[] = [];
  const progress = new PieceProgress({
    count: (bytes) => counted.push(bytes),
    tell: (bytes) => {
      told.push(bytes);
      return wants();
    },
  });
  return { progress, counted, told };
}

test('the first bytes are told at once, the others after 50 ms, a frame of them, and at the end', () => {
  const { progress, counted, told } = setUp();
  progress.came(1, false, 0);
  progress.came(2, false, 10);
  progress.came(3, false, 49);
  assert.deepEqual(told, [1]);
  progress.came(4, false, 50);
  progress.came(MAX_DATA_BYTES, false, 51);
  progress.came(5, false, 52);
  progress.came(6, true, 53);
  assert.deepEqual(told, [1, 9, MAX_DATA_BYTES, 11]);
  assert.deepEqual(counted, told);
  assert.equal(progress.end(), 0);
});

test('what came and was not told is counted all the same', () => {
  const { progress, counted, told } = setUp();
  progress.came(1, false, 0);
  progress.came(2, false, 1);
  assert.equal(progress.end(), 2);
  progress.end();
  assert.deepEqual(counted, [1, 2]);
  assert.deepEqual(told, [1]);
});

test('who wants no more is heard', () => {
  const { progress } = setUp(() => false);
  assert.equal(progress.came(1, false, 0), false);
  assert.equal(progress.came(1, false, 1), true, 'it was not asked');
});
