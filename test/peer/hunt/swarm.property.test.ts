import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { simulate } from '../../bench/simulate/outcome.ts';
import { FLASH_CROWD } from '../../bench/simulate/scenario.ts';

const SMALL = { ...FLASH_CROWD, nodes: 6, pieces: 40, window: 16, limitMs: 120_000 };

describe('planner and hunt together, simulated', () => {
  it('bring every piece to every survivor, whatever dies or is lost on the way', () => {
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.nat(1_000_000),
          nodes: fc.integer({ min: 1, max: 7 }),
          deaths: fc.constantFrom(0, 0.2, 0.5),
          deathAtMs: fc.integer({ min: 10, max: 2_000 }),
          deathKind: fc.constantFrom('reset', 'silent'),
          loss: fc.constantFrom(0, 0, 0.02, 0.1),
          zones: fc.integer({ min: 1, max: 3 }),
          reads: fc.constantFrom('whole', 'lazy'),
          lazyReads: fc.constant(25),
          originRate: fc.constantFrom(2e6, 20e6, 200e6),
          queue: fc.constantFrom(2, 64),
          slots: fc.constantFrom(1, 8),
        }),
        (change) => {
          const outcome = simulate({ ...SMALL, ...change });
          assert.ok(outcome.isComplete, 'somebody waits for ever');
          if (change.deaths === 0 && change.loss === 0 && change.queue > 2)
            assert.ok(outcome.amplification <= 1.2, `the origin was read ${outcome.amplification} times`);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('keep every uplink busy: 8 nodes take little longer than one link needs, and the origin is read once', () => {
    const outcome = simulate({ ...FLASH_CROWD, pieces: 192 });
    assert.ok(outcome.isComplete);
    assert.ok(outcome.efficiency >= 0.75, `efficiency ${outcome.efficiency}`);
    assert.ok(outcome.amplification <= 1.05, `the origin was read ${outcome.amplification} times`);
    assert.ok(outcome.hottest <= 2.5, `the hottest node sent ${outcome.hottest} times the mean`);
    assert.ok(outcome.control <= 0.01, `control cost ${outcome.control} of the payload`);
  });

  it('read a slow origin once, though everybody waits longer than it would like', () => {
    const outcome = simulate({ ...FLASH_CROWD, pieces: 96, originRate: 5e6 });
    assert.ok(outcome.isComplete);
    assert.ok(outcome.amplification <= 1.1, `the origin was read ${outcome.amplification} times`);
  });

  it('finish without a quarter of the nodes, killed in mid-transfer', () => {
    for (const deathKind of ['reset', 'silent'] as const) {
      const outcome = simulate({ ...FLASH_CROWD, pieces: 96, deaths: 0.25, deathAtMs: 2_000, deathKind });
      assert.ok(outcome.isComplete);
      assert.ok(outcome.amplification <= 1.3, `the origin was read ${outcome.amplification} times`);
    }
  });
});
