import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { PeerId } from '../../../peer/member.ts';
import type { Plan } from '../../../peer/messages.ts';
import { ALL_PIECES, slotsOf } from '../../../peer/piece-mask.ts';
import type { AskHandle } from '../../../peer/planner/actions.ts';
import { Planner } from '../../../peer/planner/planner.ts';
import { digestNumber, members, REALM, seeded, TestView } from './support.ts';

const NAME = { realm: REALM, digest: digestNumber(1), segment: 0 };
const SIZE = 64 << 20;
const PEERS = 6;

type Step =
  | { do: 'ask'; peer: number; wanted: number; leases: number; hedge: number; failed: number; why: number }
  | { do: 'come'; peer: number; pieces: number }
  | { do: 'progress' | 'return' | 'lose'; peer: number; pieces: number }
  | { do: 'leave' | 'withdraw'; peer: number }
  | { do: 'wait'; ms: number };

const peer = fc.nat(PEERS - 1);
const pieces = fc.nat(ALL_PIECES);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      peer,
      wanted: pieces,
      leases: fc.nat(8),
      hedge: fc.oneof(fc.constant(0), pieces),
      failed: peer,
      why: fc.nat(4),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('come' as const), peer, pieces }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('progress', 'return', 'lose'), peer, pieces }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('leave', 'withdraw'), peer }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(2_500) }) },
) as fc.Arbitrary<Step>;

const WHY = ['gone', 'silent', 'slow', 'busy', 'wrong'] as const;

interface Known {
  readonly until: number;
  readonly leaseMs: number;
}

/** A planner, readers that do what they like, and what must hold whatever they do. */
class Table {
  now = 100_000;
  readonly all = members(PEERS);
  readonly view: TestView;
  readonly planner: Planner;
  readonly held = new Map<PeerId, number>();
  readonly gone = new Set<PeerId>();
  readonly open = new Map<
    AskHandle,
    { from: PeerId; wanted: number; left: number; forbidden: PeerId | undefined }
  >();
  /** Leases by slot and reader, as the planner granted them. */
  readonly leases = new Map<string, Known>();

  constructor() {
    const [self] = this.all;
    assert.ok(self);
    this.view = new TestView(self, this.all);
    this.planner = new Planner({ view: this.view, clock: () => this.now, random: seeded(7) });
    this.now += 10_000;
  }

  id(n: number): PeerId {
    const member = this.all[n];
    assert.ok(member);
    return member.id;
  }

  step(step: Step): void {
    if (step.do === 'wait') {
      this.wait(step.ms);
      return;
    }
    const id = this.id(step.peer);
    if (this.gone.has(id)) return;
    switch (step.do) {
      case 'ask':
        this.ask(id, step.wanted, step.leases, step.hedge, this.id(step.failed), WHY[step.why] ?? 'gone');
        return;
      case 'come': {
        this.held.set(id, (this.held.get(id) ?? 0) | step.pieces);
        for (const slot of slotsOf(step.pieces)) this.leases.delete(`${slot} ${id}`);
        this.report(id, {});
        return;
      }
      case 'lose':
        this.held.set(id, (this.held.get(id) ?? 0) & ~step.pieces);
        this.report(id, { lost: step.pieces });
        return;
      case 'progress':
      case 'return':
        // Only of what it holds: others' leases are none of its business.
        this.report(id, {
          leases: slotsOf(step.pieces)
            .filter((slot) => this.isRunning(slot, id))
            .map((slot) => this.leaseWord(slot, id, step.do === 'return')),
        });
        return;
      case 'withdraw':
        for (const [handle, { from }] of this.open) {
          if (from !== id) continue;
          this.open.delete(handle);
          this.planner.withdraw(handle);
        }
        break;
      case 'leave':
        if (this.gone.size >= PEERS - 3) return;
        this.gone.add(id);
        for (const key of this.leases.keys()) if (key.endsWith(id)) this.leases.delete(key);
        for (const [handle, { from }] of this.open) if (from === id) this.open.delete(handle);
        this.view.become(this.all.filter((member) => !this.gone.has(member.id)));
        this.planner.membersChanged();
        break;
    }
    this.take();
  }

  leaseWord(slot: number, id: PeerId, isReturned: boolean) {
    const key = `${slot} ${id}`;
    const lease = this.leases.get(key);
    if (isReturned) this.leases.delete(key);
    else if (lease !== undefined) this.leases.set(key, { ...lease, until: this.now + lease.leaseMs });
    return { pieces: 1 << slot, state: isReturned ? ('returned' as const) : ('progress' as const) };
  }

  isRunning(slot: number, id: PeerId): boolean {
    return (this.leases.get(`${slot} ${id}`)?.until ?? 0) > this.now;
  }

  ask(
    id: PeerId,
    wanted: number,
    leases: number,
    hedge: number,
    failed: PeerId,
    why: (typeof WHY)[number],
  ): void {
    const held = this.held.get(id) ?? 0;
    for (const [handle, { from }] of this.open) if (from === id) this.open.delete(handle);
    for (const slot of slotsOf(held)) this.leases.delete(`${slot} ${id}`);
    const handle = this.planner.ask(id, {
      ...NAME,
      size: SIZE,
      wanted: wanted & ~held,
      underway: 0,
      held,
      leases,
      urgency: 'demand',
      load: 0,
      failed: [{ from: failed, pieces: ALL_PIECES, why }],
      hedge: hedge & wanted & ~held,
    });
    const isForbidden = why !== 'busy' && why !== 'slow';
    this.open.set(handle, {
      from: id,
      wanted: wanted & ~held,
      left: leases,
      forbidden: isForbidden ? failed : undefined,
    });
    this.take();
  }

  report(
    id: PeerId,
    more: { lost?: number; leases?: { pieces: number; state: 'progress' | 'returned' }[] },
  ): void {
    const held = this.held.get(id) ?? 0;
    this.planner.report(id, [
      { ...NAME, size: SIZE, load: 0, held, lost: 0, marks: [], leases: [], accused: [], ...more },
    ]);
    this.take();
  }

  wait(ms: number): void {
    const end = this.now + ms;
    for (let at = this.planner.nextAt(); at !== undefined && at <= end; at = this.planner.nextAt()) {
      assert.ok(at >= this.now - 1, 'it wants to be woken in the past, for ever');
      this.now = Math.max(this.now, at);
      this.planner.tick();
      this.take();
      assert.notEqual(this.planner.nextAt(), at, 'it is woken again and again at the same time');
    }
    this.now = end;
    this.planner.tick();
    this.take();
  }

  take(): void {
    for (const action of this.planner.take()) {
      if (action.kind === 'plan') this.check(action.ask, action.plan);
      else {
        const nothing = { ...NAME, size: undefined, holders: [], leases: [], isFresh: false };
        this.planner.knowledge(action.inquiry, nothing);
        this.take();
      }
    }
  }

  check(handle: AskHandle, plan: Plan): void {
    const open = this.open.get(handle);
    if (open === undefined) return;
    for (const said of plan.assignments) {
      assert.equal(said.pieces & ~open.wanted, 0, 'something is assigned that nobody asked for');
      if (said.kind === 'fetch') {
        for (const from of said.from) {
          assert.notEqual(from, open.from, 'a reader is sent to itself');
          assert.ok(!this.gone.has(from), 'a member that is gone is handed out');
          assert.notEqual(from, open.forbidden, 'a holder that failed is named again');
        }
        continue;
      }
      for (const slot of slotsOf(said.pieces)) {
        const isNew = !this.isRunning(slot, open.from);
        const others = [...this.leases].filter(
          ([key, { until }]) => key.startsWith(`${slot} `) && !key.endsWith(open.from) && until > this.now,
        );
        // A hedge is a second one; the first may be told again beside it.
        assert.ok(others.length <= (said.isHedge || !isNew ? 1 : 0), 'a piece has two leases at once');
        if (isNew) open.left -= 1;
        assert.ok(open.left >= 0, 'more leases than were asked for');
        this.leases.set(`${slot} ${open.from}`, { until: this.now + said.leaseMs, leaseMs: said.leaseMs });
      }
    }
    if (plan.isFinal) this.open.delete(handle);
  }
}

describe('Planner, whatever its readers do', () => {
  it('never gives two leases of a piece, a dead or failed holder, or more than was asked for', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const table = new Table();
        for (const one of steps) table.step(one);
      }),
      { numRuns: 400 },
    );
  });

  it('lets nobody wait for ever: who asks anew is answered once leases have had their time', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const table = new Table();
        for (const one of steps) table.step(one);
        const readers = table.all.filter(({ id }) => !table.gone.has(id));
        for (const { id } of readers) {
          const self = id;
          table.ask(self, ALL_PIECES, 16, 0, self, 'busy');
        }
        // Leases, unheard of receivers and their doubled terms have ended by then, again and again.
        for (let round = 0; round < 40 && table.open.size > 0; round += 1) table.wait(2_000);
        assert.equal(table.open.size, 0, 'somebody still waits');
      }),
      { numRuns: 200 },
    );
  });
});
