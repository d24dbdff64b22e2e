import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { HuntAction, Ticket, WantOptions } from '../../../peer/hunt/actions.ts';
import { Hunt } from '../../../peer/hunt/hunt.ts';
import type { HuntParameters } from '../../../peer/hunt/parameters.ts';
import type { Member, PeerId } from '../../../peer/member.ts';
import type { Assignment, Plan } from '../../../peer/messages.ts';
import { ALL_PIECES, maskOf } from '../../../peer/piece-mask.ts';
import { committee, ranks } from '../../../peer/placement.ts';
import { digestNumber, memberNumber, REALM, TestView } from '../planner/support.ts';

const BLOB = { realm: REALM, digest: digestNumber(1), size: 64 << 20 };
const NAME = { realm: REALM, digest: BLOB.digest, segment: 0 };

type Of<K extends HuntAction['kind']> = Extract<HuntAction, { kind: K }>;

class Reader {
  now = 50_000;
  readonly everybody: Member[] = [0, 1, 2, 3, 4, 5].map((n) => memberNumber(n));
  readonly view: TestView;
  readonly hunt: Hunt;
  held = 0;
  #actions: HuntAction[] = [];

  constructor(parameters: Partial<HuntParameters> = {}) {
    // Not a rank of the segment used here, so that its planners are others.
    const planners = ranks(BLOB.digest, 0, committee(BLOB.digest, this.everybody));
    const self = planners.at(-1);
    assert.ok(self);
    this.view = new TestView(self, this.everybody);
    this.hunt = new Hunt({
      view: this.view,
      clock: () => this.now,
      held: () => this.held,
      load: () => 0,
      parameters,
    });
  }

  rank(n: number): PeerId {
    const member = ranks(BLOB.digest, 0, committee(BLOB.digest, this.view.live()))[n];
    assert.ok(member);
    return member.id;
  }

  want(piece: number, options: Partial<WantOptions> = {}): Ticket {
    return this.hunt.want(BLOB, piece, { urgency: 'demand', mayLease: true, ...options });
  }

  /** What it wants done since the last call, of one kind. */
  take<K extends HuntAction['kind']>(kind: K): Of<K>[] {
    this.#actions.push(...this.hunt.take());
    const found = this.#actions.filter((action): action is Of<K> => action.kind === kind);
    this.#actions = this.#actions.filter((action) => action.kind !== kind);
    return found;
  }

  one<K extends HuntAction['kind']>(kind: K): Of<K> {
    const [first, ...more] = this.take(kind);
    assert.ok(first, `nothing of kind ${kind}`);
    assert.equal(more.length, 0, `more than one of kind ${kind}`);
    return first;
  }

  plan(ask: Of<'ask'>, assignments: Assignment[], more: Partial<Plan> = {}): void {
    this.hunt.plan(ask.ask, {
      ...NAME,
      size: BLOB.size,
      assignments,
      isFinal: true,
      isPending: false,
      ...more,
    });
  }

  later(ms: number): void {
    this.now += ms;
    this.hunt.tick();
  }

  /** The holder says meanwhile that the piece still arrives there. */
  laterStillWaiting(ms: number, ...fetches: Of<'fetch'>[]): void {
    for (let left = ms; left > 0; left -= 300) {
      for (const { fetch } of fetches) this.hunt.fetchProgress(fetch, 0);
      this.later(Math.min(left, 300));
    }
  }
}

describe('Hunt', () => {
  let reader: Reader;
  beforeEach(() => {
    reader = new Reader();
  });

  const lease = (...slots: number[]): Assignment => ({
    kind: 'lease',
    pieces: maskOf(slots),
    leaseMs: 1_500,
    isHedge: false,
  });
  const fetch = (slots: number[], ...from: number[]): Assignment => ({
    kind: 'fetch',
    pieces: maskOf(slots),
    from: from.map((n) => reader.rank(n)),
  });

  it('asks the planner once for wants made together', () => {
    reader.want(0);
    reader.want(1);
    reader.want(1);
    const ask = reader.one('ask');
    assert.equal(ask.to, reader.rank(0));
    assert.deepEqual([ask.question.wanted, ask.question.leases], [3, 2]);
  });

  it('who comes again after waiting in vain names the holders that kept it waiting, until they deliver', () => {
    const holder = reader.rank(2);
    const leaver = reader.want(0);
    reader.plan(reader.one('ask'), [fetch([0], 2)]);
    reader.one('fetch');
    reader.later(2_000);
    reader.hunt.cancel(leaver);
    reader.take('ask');
    reader.want(1);
    const again = reader.one('ask');
    assert.deepEqual(again.question.failed, [{ from: holder, why: 'slow', pieces: maskOf([1]) }]);
    // Nobody else has it after all: the holder is asked, and delivers.
    reader.plan(again, [fetch([1], 2)]);
    reader.hunt.fetchEnded(reader.one('fetch').fetch, { kind: 'verified' });
    reader.want(2);
    assert.deepEqual(reader.one('ask').question.failed, []);
  });

  it('who leaves at once blames nobody', () => {
    const leaver = reader.want(0);
    reader.plan(reader.one('ask'), [fetch([0], 2)]);
    reader.later(500);
    reader.hunt.cancel(leaver);
    reader.take('ask');
    reader.want(1);
    assert.deepEqual(reader.one('ask').question.failed, []);
  });

  it('asks again when something is wanted that the open ask does not cover', () => {
    reader.want(0);
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    reader.one('fetch');
    reader.want(1);
    const { question } = reader.one('ask');
    assert.deepEqual([question.wanted, question.underway], [3, 1]);
  });

  it('fetches what the plan says, and settles the ticket', () => {
    const ticket = reader.want(3);
    reader.plan(reader.one('ask'), [fetch([3], 1, 2)]);
    const { fetch: id, to, question } = reader.one('fetch');
    assert.deepEqual([to, question.piece], [reader.rank(1), 3]);
    reader.hunt.fetchEnded(id, { kind: 'verified' });
    assert.deepEqual(reader.one('settled'), { kind: 'settled', ticket, how: 'here' });
    reader.hunt.here(BLOB, 3);
    reader.held = maskOf([3]);
    assert.equal(reader.take('report').length, 0);
    reader.later(150);
    const reports = reader.take('report');
    assert.deepEqual(
      reports.map(({ to: planner }) => planner),
      [reader.rank(0), reader.rank(1)],
    );
    assert.equal(reports[0]?.reports[0]?.held, maskOf([3]));
  });

  it('reads leased pieces in runs, reports progress and what came at once', () => {
    for (const piece of [0, 1, 2, 3, 4, 6]) reader.want(piece);
    reader.plan(reader.one('ask'), [lease(0, 1, 2, 3, 4, 6)]);
    const reads = reader.take('read');
    assert.deepEqual(
      reads.map(({ pieces }) => pieces),
      [
        { first: 0, end: 4 },
        { first: 4, end: 5 },
        { first: 6, end: 7 },
      ],
    );
    // The understudy hears of the leases.
    assert.deepEqual(
      reader.take('report').map(({ to }) => to),
      [reader.rank(0), reader.rank(1)],
    );
    const [first] = reads;
    assert.ok(first);
    reader.hunt.readProgress(first.read);
    reader.later(500);
    const [report] = reader.take('report');
    assert.deepEqual(report?.reports[0]?.leases, [{ pieces: maskOf([0, 1, 2, 3]), state: 'progress' }]);
    reader.held = 1;
    reader.hunt.delivered(BLOB, 0);
    reader.hunt.here(BLOB, 0);
    assert.equal(reader.take('settled').length, 1);
  });

  it('stops an origin read before its lease ends, and gives it back', () => {
    reader.want(0);
    reader.plan(reader.one('ask'), [lease(0)]);
    const { read } = reader.one('read');
    reader.take('report');
    reader.later(1_260);
    assert.deepEqual(reader.one('drop-read'), { kind: 'drop-read', read });
    const [report] = reader.take('report');
    assert.deepEqual(report?.reports[0]?.leases, [{ pieces: 1, state: 'returned', why: 'failed' }]);
    reader.later(150);
    assert.equal(reader.one('ask').question.wanted, 1);
  });

  it('keeps an origin read though its reader has left', () => {
    const ticket = reader.want(0);
    reader.plan(reader.one('ask'), [lease(0)]);
    reader.one('read');
    reader.hunt.cancel(ticket);
    assert.equal(reader.take('drop-read').length, 0);
  });

  it('drops a fetch whose reader has left, and tells the planner', () => {
    const ticket = reader.want(0);
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    const { fetch: id } = reader.one('fetch');
    reader.hunt.cancel(ticket);
    assert.deepEqual(reader.one('drop-fetch'), { kind: 'drop-fetch', fetch: id });
    const ask = reader.one('ask');
    assert.equal(ask.question.wanted, 0);
    reader.plan(ask, []);
    reader.hunt.take();
    assert.equal(reader.hunt.size.segments, 0);
  });

  it('offers no lease without rights, and asks again when they come', () => {
    const ticket = reader.want(0, { mayLease: false });
    const ask = reader.one('ask');
    assert.equal(ask.question.leases, 0);
    reader.plan(ask, [], { isFinal: false });
    reader.hunt.change(ticket, { mayLease: true });
    assert.equal(reader.one('ask').question.leases, 1);
  });

  it('suspects a silent planner, asks the next ranks, and reads by itself when all are silent', () => {
    reader.want(0);
    reader.want(1, { mayLease: false });
    const first = reader.one('ask');
    reader.later(450);
    assert.equal(reader.take('drop-ask').length, 0, 'it may have a connection to make');
    reader.later(60);
    assert.deepEqual(reader.one('drop-ask').ask, first.ask);
    assert.ok(reader.view.isSuspect(reader.rank(0)));
    const second = reader.one('ask');
    assert.equal(second.to, reader.rank(1));
    reader.hunt.askFailed(second.ask);
    // A third one is as good: it asks the others before it grants a lease.
    const third = reader.one('ask');
    assert.equal(third.to, reader.rank(2));
    for (const { id } of reader.everybody) reader.view.suspect(id);
    reader.hunt.askFailed(third.ask);
    const { pieces, reason } = reader.one('read');
    assert.deepEqual([pieces, reason], [{ first: 0, end: 1 }, 'unleased']);
    // When they are heard of again, they are asked again.
    reader.view.become(reader.everybody);
    reader.hunt.membersChanged();
    reader.later(600);
    assert.equal(reader.one('ask').question.wanted, 3);
  });

  it('goes to another holder that the plan named when one has not got it, then to the planner with both', () => {
    reader.want(0);
    reader.plan(reader.one('ask'), [fetch([0], 1, 2)]);
    reader.hunt.fetchEnded(reader.one('fetch').fetch, { kind: 'gone' });
    const second = reader.one('fetch');
    assert.equal(second.to, reader.rank(2));
    reader.hunt.fetchEnded(second.fetch, { kind: 'silent' });
    const { question } = reader.one('ask');
    assert.deepEqual(question.failed, [
      { from: reader.rank(1), pieces: 1, why: 'gone' },
      { from: reader.rank(2), pieces: 1, why: 'silent' },
    ]);
  });

  it('goes to those whom a busy holder names', () => {
    reader.want(0);
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    reader.hunt.fetchEnded(reader.one('fetch').fetch, { kind: 'busy', others: [reader.rank(3)] });
    assert.equal(reader.one('fetch').to, reader.rank(3));
  });

  it('asks the same holder again, a little later, when it is busy and knows nobody, not for ever', () => {
    reader.want(0);
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    for (let times = 0; times < 3; times += 1) {
      reader.hunt.fetchEnded(reader.one('fetch').fetch, { kind: 'busy', others: [] });
      assert.equal(reader.take('fetch').length, 0);
      if (times < 2) reader.later(250);
    }
    assert.deepEqual(reader.one('ask').question.failed, [{ from: reader.rank(1), pieces: 1, why: 'busy' }]);
  });

  it('tries an alternate beside a slow holder, within the budget', () => {
    reader.want(0);
    reader.plan(reader.one('ask'), [fetch([0], 1, 2)]);
    reader.one('fetch');
    reader.later(1_500);
    const second = reader.one('fetch');
    assert.equal(second.to, reader.rank(2));
    reader.hunt.fetchEnded(second.fetch, { kind: 'verified' });
    assert.equal(reader.take('drop-fetch').length, 1);
  });

  it('never tries a third holder beside two, whoever a planner names', () => {
    reader.want(0);
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    const tried = reader.take('fetch');
    for (const other of [2, 3, 4]) {
      reader.laterStillWaiting(other === 2 ? 3_000 : 700, ...tried);
      reader.plan(reader.one('ask'), [fetch([0], other)]);
      const more = reader.take('fetch');
      assert.equal(more.length, other === 2 ? 1 : 0);
      tried.push(...more);
    }
  });

  it('gives a silent holder up soon', () => {
    reader.want(0, { mayLease: false });
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    reader.one('fetch');
    reader.later(1_100);
    assert.equal(reader.take('drop-fetch').length, 0);
    reader.later(900);
    assert.equal(reader.take('drop-fetch').length, 1);
    assert.equal(reader.one('ask').question.failed[0]?.why, 'silent');
  });

  it('waits for a holder that says that the piece still arrives there, not for ever', () => {
    reader.want(0, { mayLease: false });
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    const waited = reader.one('fetch');
    reader.laterStillWaiting(9_900, waited);
    assert.equal(reader.take('drop-fetch').length, 0);
    reader.laterStillWaiting(900, waited);
    assert.equal(reader.take('drop-fetch').length, 1);
    assert.equal(reader.one('ask').question.failed[0]?.why, 'silent');
  });

  it('gives a stalled holder up', () => {
    reader.want(0, { mayLease: false });
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    reader.hunt.fetchProgress(reader.one('fetch').fetch, 1_000);
    reader.later(800);
    assert.equal(reader.one('ask').question.failed[0]?.why, 'slow');
  });

  it('does not take signs of life for bytes once some have come', () => {
    reader.want(0, { mayLease: false });
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    const stalled = reader.one('fetch');
    reader.hunt.fetchProgress(stalled.fetch, 1_000);
    reader.laterStillWaiting(900, stalled);
    assert.equal(reader.one('ask').question.failed[0]?.why, 'slow');
  });

  it('offers leases again once all that it offered are used, as soon as a piece has come', () => {
    reader = new Reader({ maxLeases: 2 });
    for (let piece = 0; piece < 4; piece += 1) reader.want(piece);
    const ask = reader.one('ask');
    assert.equal(ask.question.leases, 2);
    reader.plan(ask, [lease(0, 1)], { isFinal: false });
    reader.take('read');
    reader.hunt.delivered(BLOB, 0);
    assert.equal(reader.one('ask').question.leases, 1);
  });

  it('waits for a slot though an alternate is due', () => {
    reader = new Reader({ maxFetches: 1 });
    reader.want(0);
    reader.plan(reader.one('ask'), [fetch([0], 1, 2)]);
    reader.laterStillWaiting(1_500, reader.one('fetch'));
    assert.equal(reader.take('fetch').length, 0);
    // Nothing is to be done before something else is due.
    assert.ok((reader.hunt.nextAt() ?? 0) > reader.now);
  });

  it('asks for a hedge when an on-demand piece is late, within the budget', () => {
    reader.want(0);
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    reader.laterStillWaiting(3_000, reader.one('fetch'));
    const ask = reader.one('ask');
    assert.deepEqual([ask.question.hedge, ask.question.underway, ask.question.leases], [1, 1, 1]);
    reader.plan(ask, [{ kind: 'lease', pieces: 1, leaseMs: 1_500, isHedge: true }]);
    assert.equal(reader.one('read').reason, 'hedge');
  });

  it('neither hedges, nor fetches twice, nor gives up what nobody awaits yet, and does so once somebody does', () => {
    const ticket = reader.want(0, { isAwaited: false, deadlineAt: reader.now + 60_000 });
    reader.plan(reader.one('ask'), [fetch([0], 1, 2)]);
    const first = reader.one('fetch');
    for (let passed = 0; passed < 5_000; passed += 500) reader.laterStillWaiting(500, first);
    assert.deepEqual(reader.take('fetch'), [], 'no second fetch');
    for (const { question } of reader.take('ask')) assert.equal(question.hedge, 0);
    reader.hunt.change(ticket, { isAwaited: true, deadlineAt: reader.now + 4_000 });
    reader.laterStillWaiting(1_000, first);
    assert.equal(reader.take('fetch').length, 1, 'the second');
    assert.equal(reader.take('ask').at(-1)?.question.hedge, 1);
  });

  it('is patient with a holder that sends another piece over the same line meanwhile, for a while', () => {
    for (const piece of [0, 1]) reader.want(piece);
    reader.plan(reader.one('ask'), [fetch([0, 1], 1)]);
    const [busy, quiet] = reader.take('fetch');
    assert.ok(busy && quiet);
    const dropsAfter = (ms: number): number => {
      for (let passed = 0; passed < ms; passed += 250) {
        reader.later(250);
        reader.hunt.fetchProgress(busy.fetch, 1_000);
      }
      return reader.take('drop-fetch').filter(({ fetch: id }) => id === quiet.fetch).length;
    };
    assert.equal(dropsAfter(3_000), 0);
    assert.equal(dropsAfter(6_000), 1);
  });

  it('offers leases for what was wanted first, and for what comes after it once that is assigned', () => {
    for (let piece = 8; piece < 24; piece += 1) reader.want(piece);
    const offers = reader.take('ask').map(({ question }) => [question.segment, question.leases]);
    assert.deepEqual(offers, [
      [0, 8],
      [1, 0],
    ]);
  });

  it('offers to hedge no more pieces than the budget has', () => {
    for (let piece = 0; piece < 4; piece += 1) reader.want(piece);
    reader.plan(reader.one('ask'), [fetch([0, 1, 2, 3], 1)]);
    reader.laterStillWaiting(3_000, ...reader.take('fetch'));
    const { question } = reader.one('ask');
    assert.deepEqual([question.hedge, question.leases], [maskOf([0, 1, 2, 3]), 2]);
  });

  it('reads without a lease when the time of its reader is nearly over and no planner says why', () => {
    reader.want(0, { deadlineAt: reader.now + 2_500 });
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    reader.one('fetch');
    reader.later(600);
    reader.one('ask');
    reader.later(900);
    assert.equal(reader.one('read').reason, 'unleased');
  });

  it('waits past the deadline while the planner refuses a hedge, and gives up when it says nothing any more', () => {
    reader.want(0, { deadlineAt: reader.now + 2_500, mayLease: true });
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    reader.one('fetch');
    for (let passed = 0; passed < 5_000; passed += 100) {
      reader.later(100);
      for (const ask of reader.take('ask')) reader.plan(ask, []);
    }
    assert.deepEqual([reader.take('read'), reader.take('settled')], [[], []]);
    for (const { id } of reader.everybody) reader.view.suspect(id);
    // The last word is too old soon: the piece is read, and the ticket goes on with it.
    const reads = [];
    for (let passed = 0; passed < 2_500; passed += 100) {
      reader.later(100);
      reads.push(...reader.take('read'));
    }
    assert.deepEqual(
      reads.map(({ reason }) => reason),
      ['unleased'],
    );
    assert.equal(reader.take('settled').length, 0);
  });

  it('gives up at the deadline what may not be read from the origin', () => {
    const ticket = reader.want(0, { deadlineAt: reader.now + 2_500, mayLease: false });
    reader.plan(reader.one('ask'), [fetch([0], 1)]);
    reader.later(2_400);
    assert.equal(reader.take('settled').length, 0);
    reader.later(100);
    assert.deepEqual(reader.one('settled'), { kind: 'settled', ticket, how: 'given-up' });
  });

  it('holds a bounded number of leases', () => {
    reader = new Reader({ maxLeases: 2 });
    for (let piece = 0; piece < 16; piece += 1) reader.want(piece);
    const ask = reader.one('ask');
    assert.equal(ask.question.leases, 2);
    reader.plan(ask, [{ kind: 'lease', pieces: ALL_PIECES, leaseMs: 1_500, isHedge: false }]);
    assert.equal(reader.hunt.size.reading, 4);
    const [report] = reader.take('report');
    assert.ok(report?.reports[0]?.leases.some(({ state }) => state === 'returned'));
  });

  it('starts on-demand fetches before prefetch', () => {
    reader = new Reader({ maxFetches: 1 });
    reader.want(0, { urgency: 'prefetch' });
    reader.want(1, { urgency: 'prefetch' });
    reader.want(2);
    reader.plan(reader.one('ask'), [fetch([0, 1, 2], 1)]);
    const first = reader.one('fetch');
    assert.equal(first.question.piece, 0);
    reader.hunt.fetchEnded(first.fetch, { kind: 'verified' });
    assert.equal(reader.one('fetch').question.piece, 2);
  });

  it('ignores late words of what is over', () => {
    const ticket = reader.want(0);
    const ask = reader.one('ask');
    reader.hunt.cancel(ticket);
    reader.hunt.take();
    reader.plan(ask, [lease(0)]);
    assert.equal(reader.take('read').length, 0);
  });
});
