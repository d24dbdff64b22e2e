import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { simulate } from '../../bench/simulate/outcome.ts';
import { FLASH_CROWD } from '../../bench/simulate/scenario.ts';
import { HuntLab, type LabBehaviour, type LabNode } from '../../support/peer/hunt-lab.ts';

const PIECES = 17;
const CLAIM_MS = 1_000;
/** A client that has no range within this time asks again, or goes elsewhere. */
const CLIENT_MS = 4_000;

interface Case {
  readonly behaviour: LabBehaviour;
  /** Past what the origin takes for the same. */
  readonly costMs: number;
}

/** What is usual now is not known at first: then a holder has its second or so, once for each reader. */
const CASES: Readonly<Record<string, Case>> = {
  'says nothing': { behaviour: { kind: 'silent' }, costMs: 2_500 },
  'stops after half a piece': { behaviour: { kind: 'stall', bytes: 1 << 19 }, costMs: 2_500 },
  'drips, 4 s for a piece': { behaviour: { kind: 'drip', rate: 250_000 }, costMs: 4_000 },
  'drips, 20 s for a piece': { behaviour: { kind: 'drip', rate: 50_000 }, costMs: 4_000 },
  'is always busy': { behaviour: { kind: 'busy' }, costMs: 5_000 },
  'has nothing': { behaviour: { kind: 'gone' }, costMs: 500 },
};

describe('readers of a blob whose only holder', () => {
  const readers: Readonly<Record<string, (lab: HuntLab) => LabNode[]>> = {
    'one reader of the whole': (lab) => {
      lab.node(1).readWhole();
      return [lab.node(1)];
    },
    'one of ranges': (lab) => {
      lab.node(2).readRanges();
      return [lab.node(2)];
    },
    'both, who wait for each other as well': (lab) => {
      lab.node(1).readWhole();
      lab.node(2).readRanges();
      return [lab.node(1), lab.node(2)];
    },
  };

  function lab(behaviour: LabBehaviour | undefined, lagMs: number): HuntLab {
    const made = new HuntLab({ nodes: 4, pieces: PIECES, originRate: 20e6, lagMs });
    const holder = made.node(0);
    if (behaviour === undefined) return made;
    holder.behaviour = behaviour;
    holder.hold();
    made.pass(CLAIM_MS);
    return made;
  }

  for (const [what, { behaviour, costMs }] of Object.entries(CASES)) {
    for (const [who, read] of Object.entries(readers)) {
      it(`${what}: ${who}`, () => {
        for (const lagMs of [0, 30]) {
          const alone = lab(undefined, lagMs);
          const aloneMs = alone.run(read(alone));
          const beside = lab(behaviour, lagMs);
          const reading = read(beside);
          const tookMs = beside.run(reading);
          assert.ok(
            tookMs <= aloneMs + costMs,
            `${Math.round(tookMs)} ms in place of ${Math.round(aloneMs)}`,
          );
          assert.ok(beside.originPieces <= PIECES + 1, `the origin sent ${beside.originPieces} pieces`);
          for (const { waits, unleased } of reading) {
            assert.equal(unleased, 0);
            const longest = Math.max(...waits);
            assert.ok(longest <= CLIENT_MS, `a piece came after ${Math.round(longest)} ms`);
          }
        }
      });
    }
  }

  it('loses its link: each of three finds out at most once, and the origin is read once', () => {
    const made = new HuntLab({ nodes: 4, pieces: 24, originRate: 8e6, linkRate: 20e6 });
    const [holder, ...others] = made.nodes;
    assert.ok(holder);
    holder.hold();
    made.pass(CLAIM_MS);
    for (const reader of others) reader.readWhole();
    made.clock.in(150, () => made.unplug(holder, 5_000));
    const tookMs = made.run(others);
    assert.ok(tookMs <= 3_146 + 2_500, `${Math.round(tookMs)} ms`);
    assert.ok(made.originPieces <= 25, `the origin sent ${made.originPieces} pieces`);
  });

  it('is asked again after a while, and forgiven once it serves', () => {
    const made = lab({ kind: 'silent' }, 0);
    const [holder, reader] = [made.node(0), made.node(1)];
    reader.readWhole();
    made.run([reader]);
    const before = reader.asked.get(holder.member.id) ?? 0;
    reader.forget();
    holder.behaviour = { kind: 'serve' };
    made.pass(15_000);
    reader.readWhole();
    made.run([reader]);
    assert.ok((reader.asked.get(holder.member.id) ?? 0) > before, 'it is not asked any more');
    assert.equal(made.originPieces, PIECES);
    assert.deepEqual(reader.hunt.scores.unhelpful(made.clock.now), []);
  });
});

describe('members that are merely busy', () => {
  it('with narrow links, where every piece takes seconds, are not taken for slow ones', () => {
    for (const seed of [1, 2, 3]) {
      const narrow = { upRate: 2e6, downRate: 2e6, originRate: 2e6 };
      const outcome = simulate({ ...FLASH_CROWD, pieces: 64, ...narrow, seed });
      assert.ok(outcome.isComplete);
      assert.ok(outcome.amplification <= 1.1, `the origin was read ${outcome.amplification} times`);
    }
  });

  it('and whose pieces all come late on a machine without time serve as if there were time', () => {
    const made = new HuntLab({ nodes: 3, pieces: 32, originRate: 20e6, linkRate: 20e6, lagMs: 150 });
    const [holder, ...others] = made.nodes;
    assert.ok(holder);
    holder.hold();
    made.pass(CLAIM_MS);
    for (const reader of others) reader.readWhole();
    made.run(others);
    assert.ok(made.originPieces <= 2, `the origin sent ${made.originPieces} pieces`);
    for (const { hunt } of others) assert.deepEqual(hunt.scores.unhelpful(made.clock.now), []);
  });
});
