import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { COMMITTEE_SIZE, committee, ranks } from '../../peer/placement.ts';
import { digestNumber, members } from './planner/support.ts';

describe('placement', () => {
  const all = members(60);

  it('names the same planners to everybody who sees the same members', () => {
    const digest = digestNumber(1);
    assert.deepEqual(committee(digest, [...all]), committee(digest, [...all]));
    assert.equal(committee(digest, all).length, COMMITTEE_SIZE);
    assert.equal(new Set(committee(digest, all)).size, COMMITTEE_SIZE);
    assert.equal(committee(digest, all.slice(0, 3)).length, 3);
    assert.deepEqual(committee(digest, []), []);
  });

  it('spreads blobs over the members, and segments over the committee', () => {
    const counts = new Map<string, number>();
    for (let n = 0; n < 3_000; n += 1) {
      for (const { id } of committee(digestNumber(n), all)) counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    const mean = (3_000 * COMMITTEE_SIZE) / all.length;
    for (const member of all) {
      const share = (counts.get(member.id) ?? 0) / mean;
      assert.ok(share > 0.75 && share < 1.25, `${member.id} plans ${share} times the mean`);
    }
    const planners = committee(digestNumber(7), all);
    const firsts = new Map<string, number>();
    for (let segment = 0; segment < 8_000; segment += 1) {
      const [first, second] = ranks(digestNumber(7), segment, planners);
      assert.notEqual(first, second);
      firsts.set(first?.id ?? '', (firsts.get(first?.id ?? '') ?? 0) + 1);
    }
    for (const { id } of planners) {
      const share = (firsts.get(id) ?? 0) / 1_000;
      assert.ok(share > 0.85 && share < 1.15, `${id} plans ${share} times its part of the segments`);
    }
  });

  it('moves only the part of a member that leaves, to the understudy', () => {
    const digest = digestNumber(3);
    const before = committee(digest, all);
    const [gone] = before;
    const after = committee(
      digest,
      all.filter((member) => member !== gone),
    );
    assert.deepEqual(after.slice(0, -1), before.slice(1));
    for (let segment = 0; segment < 200; segment += 1) {
      const old = ranks(digest, segment, before).filter((member) => member !== gone);
      const now = ranks(digest, segment, after).filter((member) => before.includes(member));
      assert.deepEqual(now, old);
    }
  });

  it('moves only what a joining member takes', () => {
    const fewer = all.slice(1);
    const moved = Array.from({ length: 1_000 }, (_, n) => n).filter((n) => {
      const before = ranks(digestNumber(n), 0, committee(digestNumber(n), fewer))[0];
      const after = ranks(digestNumber(n), 0, committee(digestNumber(n), all))[0];
      if (before !== after)
        assert.ok(after === all[0] || !committee(digestNumber(n), all).includes(before ?? ({} as never)));
      return before !== after;
    });
    assert.ok(moved.length < 80, `${moved.length} of 1000 planners changed when one of 60 joined`);
  });

  it('costs little for every piece of a large blob at 5,000 members', () => {
    const many = members(5_000);
    const digest = digestNumber(9);
    const planners = committee(digest, many);
    // The same array: nothing is computed again.
    assert.equal(committee(digest, many), planners);
  });
});
