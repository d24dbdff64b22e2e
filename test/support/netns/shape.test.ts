import assert from 'node:assert/strict';
import test from 'node:test';
import { burstBytes, MTU_BYTES, tbfArguments } from './shape.ts';

test('a link of 20 MB/s lets 8 ms of itself through at once and holds 25 ms', () => {
  assert.deepEqual(tbfArguments({ bytesPerSecond: 20e6 }), [
    'tbf',
    ...['rate', '160000000bit', 'burst', '160000b', 'limit', '660000b'],
  ]);
});

test('a slow link still lets whole frames through, and holds some for several streams', () => {
  assert.ok(burstBytes(1e6) >= MTU_BYTES);
  assert.equal(tbfArguments({ bytesPerSecond: 1e6, queueMs: 1 }).at(-1), `${20 * MTU_BYTES}b`);
});

test('a rate that is none is refused', () => {
  for (const bytesPerSecond of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    assert.throws(() => tbfArguments({ bytesPerSecond }), RangeError);
});
