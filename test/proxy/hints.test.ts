import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseHints } from '../../src/proxy/hints.ts';

const plain = { urgency: 'demand', prefetch: false, useP2p: false };

describe('parseHints', () => {
  it('works the same when nothing is sent', () => assert.deepEqual(parseHints({}), plain));

  it('takes priority 3 for prefetch, and every other for demand', () => {
    assert.equal(parseHints({ 'x-dragonfly-priority': '3' }).urgency, 'prefetch');
    for (const level of ['0', '1', '2', '4', '5', '6', '33', 'high', ''])
      assert.equal(parseHints({ 'x-dragonfly-priority': level }).urgency, 'demand');
  });

  it('takes true, in any case, and nothing else', () => {
    assert.deepEqual(parseHints({ 'x-dragonfly-prefetch': 'true', 'x-dragonfly-use-p2p': 'True' }), {
      ...plain,
      prefetch: true,
      useP2p: true,
    });
    for (const value of ['false', '1', 'yes', '', 'true, true'])
      assert.deepEqual(parseHints({ 'x-dragonfly-prefetch': value, 'x-dragonfly-use-p2p': value }), plain);
  });
});
