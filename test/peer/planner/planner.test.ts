import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { Member, PeerId } from '../../../peer/member.ts';
import type { Ask, Assignment, Plan, Report } from '../../../peer/messages.ts';
import { maskOf, slotsOf } from '../../../peer/piece-mask.ts';
import type { AskHandle } from '../../../peer/planner/actions.ts';
import { PLANNER_DEFAULTS } from '../../../peer/planner/parameters.ts';
import { Planner } from '../../../peer/planner/planner.ts';
import { digestNumber, memberNumber, REALM, seeded, TestView } from './support.ts';

const DIGEST = digestNumber(1);
const NAME = { realm: REALM, digest: DIGEST, segment: 0 };
const SIZE = 64 << 20;

class Desk {
  now = 100_000;
  readonly everybody: Member[];
  readonly view: TestView;
  readonly planner: Planner;
  readonly plans = new Map<AskHandle, Plan[]>();
  /** Why leases ended, one for each piece. */
  readonly ends: string[] = [];
  /** What other ranks are asked. */
  readonly inquiries: { to: PeerId; inquiry: number }[] = [];

  constructor(members: readonly Member[], isOld = true) {
    this.everybody = [...members];
    const [self] = members;
    assert.ok(self);
    this.view = new TestView(self, members);
    this.planner = new Planner({
      view: this.view,
      clock: () => this.now,
      random: seeded(1),
      parameters: { firstLeases: 4 },
      onLeaseEnd: (why) => this.ends.push(why),
    });
    if (isOld) this.now += 10_000;
  }

  id(n: number): PeerId {
    const member = this.everybody[n];
    assert.ok(member);
    return member.id;
  }

  /** Asks, and lets other ranks know nothing. */
  ask(n: number, wanted: readonly number[], more: Partial<Ask> = {}): AskHandle {
    const handle = this.planner.ask(this.id(n), {
      ...NAME,
      size: SIZE,
      wanted: maskOf(wanted),
      underway: 0,
      held: 0,
      leases: 8,
      urgency: 'demand',
      load: 0,
      failed: [],
      hedge: 0,
      ...more,
    });
    this.settle();
    return handle;
  }

  report(n: number, more: Partial<Report>): void {
    this.planner.report(this.id(n), [
      { ...NAME, size: SIZE, load: 0, held: 0, lost: 0, marks: [], leases: [], accused: [], ...more },
    ]);
    this.settle();
  }

  /** What was said to that ask since the last call. */
  said(handle: AskHandle): Assignment[] {
    const plans = this.plans.get(handle) ?? [];
    this.plans.delete(handle);
    return plans.flatMap(({ assignments }) => assignments);
  }

  leased(handle: AskHandle): number[] {
    return this.said(handle).flatMap((said) => (said.kind === 'lease' ? slotsOf(said.pieces) : []));
  }

  settle(): void {
    for (const action of this.planner.take()) {
      if (action.kind === 'plan') {
        this.plans.set(action.ask, [...(this.plans.get(action.ask) ?? []), action.plan]);
      } else {
        this.inquiries.push({ to: action.to, inquiry: action.inquiry });
        this.planner.knowledge(action.inquiry, {
          ...action.question,
          size: undefined,
          holders: [],
          leases: [],
          isFresh: false,
        });
        this.settle();
      }
    }
  }

  later(ms: number): void {
    this.now += ms;
    this.planner.tick();
    this.settle();
  }
}

describe('Planner', () => {
  let desk: Desk;
  beforeEach(() => {
    desk = new Desk([0, 1, 2, 3, 4, 5].map((n) => memberNumber(n)));
  });

  it('tells once for each piece why its lease ended', () => {
    desk.ask(1, [0, 1, 2, 3, 4]);
    assert.deepEqual(desk.ends, []);
    desk.report(1, { held: maskOf([0]) });
    desk.report(1, { held: maskOf([0]) });
    assert.deepEqual(desk.ends, ['done']);
    desk.report(1, {
      held: maskOf([0]),
      leases: [
        { pieces: maskOf([1]), state: 'returned', why: 'disk' },
        { pieces: maskOf([2]), state: 'returned' },
        { pieces: maskOf([5]), state: 'returned', why: 'busy' },
      ],
    });
    assert.deepEqual(desk.ends.splice(0), ['done', 'disk', 'failed']);
    desk.report(1, { held: maskOf([0]), leases: [{ pieces: maskOf([4]), state: 'progress' }] });
    desk.later(1_000);
    desk.report(1, { held: maskOf([0]), leases: [{ pieces: maskOf([4]), state: 'progress' }] });
    desk.later(1_000);
    assert.deepEqual(desk.ends.splice(0), ['silent'], 'of piece 3');
    desk.view.become(desk.everybody.filter(({ id }) => id !== desk.id(1)));
    desk.planner.membersChanged();
    assert.deepEqual(desk.ends, ['left'], 'of piece 4');
  });

  it('leases what nobody has to the first, and sends the others to it', () => {
    const first = desk.ask(1, [0]);
    assert.deepEqual(desk.said(first), [{ kind: 'lease', pieces: 1, leaseMs: 1_500, isHedge: false }]);
    const second = desk.ask(2, [0]);
    assert.deepEqual(desk.said(second), [{ kind: 'fetch', pieces: 1, from: [desk.id(1)] }]);
  });

  it('gives the first reader a few, and all that it would read once it is clear that it is alone', () => {
    const alone = desk.ask(1, [0, 1, 2, 3, 4, 5, 6, 7], { leases: 8 });
    assert.deepEqual(desk.leased(alone), [0, 1, 2, 3]);
    desk.later(PLANNER_DEFAULTS.deferMs);
    assert.deepEqual(desk.leased(alone), [4, 5, 6, 7]);
  });

  it('spreads a few pieces over a crowd, by how many have come, and the next when one of them is read', () => {
    desk.ask(1, [0], { leases: 1 });
    const crowd = [2, 3, 4, 5].map((n) => desk.ask(n, [1, 2, 3, 4, 5, 6, 7, 8], { leases: 8 }));
    assert.deepEqual(
      crowd.map((ask) => desk.leased(ask).length),
      [2, 1, 0, 0],
    );
    desk.report(1, { held: maskOf([0]) });
    assert.equal(desk.leased(crowd[2] as AskHandle).length, 1);
  });

  it('never grants more leases than were asked for', () => {
    const none = desk.ask(1, [0, 1], { leases: 0 });
    assert.deepEqual(desk.said(none), []);
    assert.deepEqual(desk.leased(desk.ask(2, [0])), [0]);
    // Who waited hears of it.
    assert.deepEqual(desk.said(none), [{ kind: 'fetch', pieces: 1, from: [desk.id(2)] }]);
  });

  it('answers at once though there is nothing to assign', () => {
    const none = desk.ask(1, [0], { leases: 0 });
    const [plan] = desk.plans.get(none) ?? [];
    assert.deepEqual([plan?.assignments, plan?.isFinal, plan?.isPending], [[], false, false]);
  });

  it('lets a tree grow: no holder gets all the readers', () => {
    desk.report(1, { held: 1 });
    const parents = [2, 3, 4, 5].map((n) => {
      const [said] = desk.said(desk.ask(n, [0]));
      assert.equal(said?.kind, 'fetch');
      return said.kind === 'fetch' ? said.from[0] : undefined;
    });
    assert.ok(new Set(parents).size >= 2, 'everybody was sent to the one holder');
  });

  it('stays in the zone of the reader, and crosses once per zone', () => {
    desk = new Desk([0, 1, 2, 3, 4, 5].map((n) => memberNumber(n, n < 3 ? 'a' : 'b')));
    desk.report(1, { held: 1 });
    const from = (n: number): PeerId | undefined => {
      const [said] = desk.said(desk.ask(n, [0]));
      return said?.kind === 'fetch' ? said.from[0] : undefined;
    };
    assert.equal(from(3), desk.id(1));
    const inZone = [desk.id(3), desk.id(4), desk.id(5)];
    assert.ok(inZone.includes(from(4) as PeerId));
    assert.ok(inZone.includes(from(5) as PeerId));
  });

  it('takes a lease back that shows no progress, and not one that does', () => {
    desk.ask(1, [0]);
    const second = desk.ask(2, [0]);
    desk.said(second);
    desk.later(1_000);
    desk.report(1, { leases: [{ pieces: 1, state: 'progress' }] });
    desk.later(1_400);
    const third = desk.ask(3, [0], { failed: [{ from: desk.id(1), pieces: 1, why: 'slow' }] });
    assert.deepEqual(desk.leased(third), []);
    desk.later(200);
    const fourth = desk.ask(4, [0], { failed: [{ from: desk.id(1), pieces: 1, why: 'silent' }] });
    assert.deepEqual(desk.said(fourth)[0]?.kind, 'lease');
  });

  it('gives a returned lease to the next that waits, at once', () => {
    desk.ask(1, [0]);
    const other = desk.ask(2, [0], { failed: [{ from: desk.id(1), pieces: 1, why: 'silent' }] });
    assert.deepEqual(desk.said(other), []);
    desk.report(1, { leases: [{ pieces: 1, state: 'returned', why: 'refused' }] });
    assert.deepEqual(desk.leased(other), [0]);
  });

  it('never names again who failed, and withdraws what is gone', () => {
    desk.report(1, { held: 1 });
    const failed = [{ from: desk.id(1), pieces: 1, why: 'gone' as const }];
    assert.equal(desk.said(desk.ask(2, [0], { failed }))[0]?.kind, 'lease');
    const [said] = desk.said(desk.ask(3, [0]));
    assert.deepEqual(said, { kind: 'fetch', pieces: 1, from: [desk.id(2)] });
  });

  it('never sends a reader to whom it feeds', () => {
    desk.ask(1, [0]);
    desk.said(desk.ask(2, [0]));
    // 2 fetches from 1; when 1 has lost its lease and asks again, 2 is no source for it.
    desk.report(1, { leases: [{ pieces: 1, state: 'returned', why: 'failed' }] });
    const [said] = desk.said(desk.ask(1, [0]));
    assert.equal(said?.kind, 'lease');
  });

  it('names nobody who has left', () => {
    desk.report(1, { held: 1 });
    desk.view.become(desk.everybody.filter((_, n) => n !== 1));
    desk.planner.membersChanged();
    const first = desk.ask(2, [0]);
    assert.deepEqual(desk.leased(first), [0]);
  });

  it('uses neither of two digests that disagree, until a third read settles it', () => {
    const mark = (n: number, fill: number, kind: 'attested' | 'proven' = 'attested') => ({
      slot: 0,
      sha256: new Uint8Array(32).fill(fill),
      voucher: { kind, by: desk.id(n), signature: new Uint8Array(64) },
    });
    desk.report(1, { held: 1, marks: [mark(1, 1)] });
    desk.report(2, { held: 1, marks: [mark(2, 2)] });
    assert.deepEqual(desk.leased(desk.ask(3, [0])), [0]);
    desk.report(3, { held: 1, marks: [mark(3, 2)] });
    assert.deepEqual(desk.said(desk.ask(4, [0])), [{ kind: 'fetch', pieces: 1, from: [desk.id(3)] }]);
  });

  it('trusts a proven digest over an attested one', () => {
    const mark = (n: number, fill: number, kind: 'attested' | 'proven') => ({
      slot: 0,
      sha256: new Uint8Array(32).fill(fill),
      voucher: { kind, by: desk.id(n), signature: new Uint8Array(64) },
    });
    desk.report(1, { held: 1, marks: [mark(1, 1, 'proven')] });
    desk.report(2, { held: 1, marks: [mark(2, 2, 'attested')] });
    const [said] = desk.said(desk.ask(3, [0]));
    assert.deepEqual(said, { kind: 'fetch', pieces: 1, from: [desk.id(1)] });
  });

  it('grants one hedge per piece, and none while the first read makes progress', () => {
    desk.ask(1, [0]);
    desk.said(desk.ask(2, [0]));
    const failed = [{ from: desk.id(1), pieces: 1, why: 'slow' as const }];
    const early = desk.ask(2, [0], { underway: 1, hedge: 1, failed });
    assert.deepEqual(desk.said(early), []);
    desk.later(800);
    const hedge = desk.ask(2, [0], { underway: 1, hedge: 1, failed });
    assert.deepEqual(desk.said(hedge), [{ kind: 'lease', pieces: 1, leaseMs: 1_500, isHedge: true }]);
    desk.said(desk.ask(3, [0]));
    const another = desk.ask(3, [0], { underway: 1, hedge: 1 });
    assert.deepEqual(desk.leased(another), []);
  });

  it('asks the next ranks about a segment that it does not know, and uses what they say', () => {
    const handle = desk.planner.ask(desk.id(1), {
      ...NAME,
      size: undefined,
      wanted: 3,
      underway: 0,
      held: 0,
      leases: 8,
      urgency: 'demand',
      load: 0,
      failed: [],
      hedge: 0,
    });
    const asked = desk.planner.take();
    assert.equal(asked.length, 2);
    const [first, second] = asked;
    assert.ok(first?.kind === 'inquire' && second?.kind === 'inquire');
    desk.planner.knowledge(first.inquiry, {
      ...NAME,
      size: SIZE,
      holders: [{ peer: desk.id(4), held: 1 }],
      leases: [{ peer: desk.id(5), pieces: 2, leaseMs: 900 }],
      isFresh: false,
    });
    desk.planner.knowledge(second.inquiry, null);
    desk.settle();
    assert.equal(desk.plans.get(handle)?.[0]?.size, SIZE);
    assert.deepEqual(desk.said(handle), [
      { kind: 'fetch', pieces: 1, from: [desk.id(4)] },
      { kind: 'fetch', pieces: 2, from: [desk.id(5)] },
    ]);
  });

  it('grants after 50 ms though another rank is silent', () => {
    const handle = desk.planner.ask(desk.id(1), {
      ...NAME,
      size: SIZE,
      wanted: 1,
      underway: 0,
      held: 0,
      leases: 1,
      urgency: 'demand',
      load: 0,
      failed: [],
      hedge: 0,
    });
    assert.equal(desk.planner.take().filter(({ kind }) => kind === 'plan').length, 0);
    desk.now = desk.planner.nextAt() ?? 0;
    desk.planner.tick();
    desk.settle();
    assert.deepEqual(desk.leased(handle), [0]);
  });

  it('waits for announcements when every planner has just started', () => {
    desk = new Desk(
      [0, 1, 2].map((n) => memberNumber(n)),
      false,
    );
    const handle = desk.planner.ask(desk.id(1), {
      ...NAME,
      size: SIZE,
      wanted: 1,
      underway: 0,
      held: 0,
      leases: 1,
      urgency: 'demand',
      load: 0,
      failed: [],
      hedge: 0,
    });
    for (const action of desk.planner.take()) {
      assert.ok(action.kind === 'inquire');
      desk.planner.knowledge(action.inquiry, {
        ...NAME,
        size: undefined,
        holders: [],
        leases: [],
        isFresh: true,
      });
    }
    desk.settle();
    assert.equal(desk.plans.get(handle)?.[0]?.isPending, true);
    assert.deepEqual(desk.leased(handle), []);
    desk.report(2, { held: 1 });
    assert.deepEqual(desk.said(handle), [{ kind: 'fetch', pieces: 1, from: [desk.id(2)] }]);
  });

  it('forgets the least recently used beyond its bounds, never what somebody waits for', () => {
    desk = new Desk([0, 1, 2].map((n) => memberNumber(n)));
    const planner = new Planner({
      view: desk.view,
      clock: () => desk.now,
      random: seeded(1),
      parameters: { maxSegments: 4 },
    });
    for (let segment = 0; segment < 20; segment += 1) {
      const size = 1 << 30;
      planner.report(desk.id(1), [
        { ...NAME, segment, size, load: 0, held: 1, lost: 0, marks: [], leases: [], accused: [] },
      ]);
    }
    assert.deepEqual(planner.size, { segments: 4, asks: 0, sources: 4, leases: 0 });
  });
});
