import { SEGMENT_PIECES } from '../../src/blob/piece.ts';
import type { LeaseEnd } from '../../src/observe/swarm-labels.ts';
import type { PeerId } from '../member.ts';
import type { Ask, FailedHolder, Knowledge, Plan, Report, SegmentName } from '../messages.ts';
import { ALL_PIECES, NO_PIECES, type PieceMask, slotsOf } from '../piece-mask.ts';
import type { AskHandle } from './actions.ts';
import type { Crowd } from './crowd.ts';
import { nextReader, type SegmentReading } from './next-reader.ts';
import { type Mercy, OpenAsk } from './open-ask.ts';
import type { PlannerParameters } from './parameters.ts';
import type { PlannedPeer, PlannedPeers } from './peers.ts';
import { PiecePlan } from './piece-plan.ts';
import type { Source } from './piece-sources.ts';
import { SizeVotes } from './size-votes.ts';

/** Holders told to another rank; the rest announce themselves, or are found by an own read. */
const MAX_TOLD = 128;
/** Receivers are looked through for those that went quiet this often. */
const SWEEP_MS = 5_000;

export interface SegmentContext {
  readonly parameters: PlannerParameters;
  readonly peers: PlannedPeers;
  readonly random: () => number;
  /** Readers of the blob that asked lately, in any segment. */
  readonly crowd: Crowd;
  answer(ask: AskHandle, plan: Plan): void;
  leaseEnded(why: LeaseEnd): void;
}

/** What a planner knows of one segment: who has what, who reads what from the origin, who waits for what. */
export class SegmentPlan {
  readonly name: SegmentName;
  readonly #context: SegmentContext;
  readonly #pieces: readonly PiecePlan[];
  readonly #asks = new Map<PeerId, OpenAsk>();
  /** Leases that each reader has got in this segment. */
  readonly #granted = new Map<PeerId, number>();
  readonly #sizes = new SizeVotes();
  /** False while other ranks are asked first: what they know may make a lease needless. */
  mayGrant = true;
  /** Readers are told that an answer takes longer. */
  isPending = false;
  #sweptAt = 0;

  constructor(name: SegmentName, context: SegmentContext) {
    this.name = name;
    this.#context = context;
    this.#pieces = Array.from({ length: SEGMENT_PIECES }, () => new PiecePlan(context));
  }

  /** Nobody waits and nothing is read: it can be forgotten without harm to anybody now. */
  get isIdle(): boolean {
    return this.#asks.size === 0 && this.#pieces.every(({ leases }) => leases.current.length === 0);
  }

  get sources(): number {
    return this.#pieces.reduce((sum, { sources }) => sum + sources.size, 0);
  }

  /** Of the sources those that have nothing yet. */
  get receiving(): number {
    return this.#pieces.reduce((sum, { sources }) => sum + sources.receiving, 0);
  }

  /** It is forgotten: whom it counted on is not busy for it any more. */
  dissolve(): void {
    for (const { sources } of this.#pieces) {
      for (const { peer } of [...sources.all()]) sources.remove(peer.id);
    }
  }

  ask(handle: AskHandle, peer: PlannedPeer, ask: Ask, now: number): OpenAsk {
    const since = this.#asks.get(peer.id)?.since ?? now;
    this.#replace(peer);
    this.#context.crowd.joined(peer.id, now);
    peer.says(ask.load, now);
    this.#hold(peer, ask.held, now);
    for (const failure of ask.failed) this.#fail(failure, now);
    const open = new OpenAsk(handle, peer, ask, since);
    for (const slot of slotsOf(ask.wanted & ~ask.held)) this.#want(open, slot, now);
    for (const slot of slotsOf(~ask.wanted & ~ask.held & ALL_PIECES)) {
      const sources = this.#piece(slot).sources;
      if (sources.get(peer.id)?.state === 'receiving') sources.remove(peer.id);
    }
    for (const slot of slotsOf(ask.hedge & ask.wanted)) this.#hedge(open, slot, now);
    this.#asks.set(peer.id, open);
    return open;
  }

  withdraw(open: OpenAsk): void {
    if (this.#asks.get(open.peer.id) === open) this.#asks.delete(open.peer.id);
  }

  report(peer: PlannedPeer, report: Report, now: number): void {
    this.#sizes.vote(peer.id, report.size);
    peer.says(report.load, now);
    for (const slot of slotsOf(report.lost)) this.#piece(slot).lose(peer);
    for (const mark of report.marks) this.#pieces[mark.slot]?.mark(peer, mark);
    for (const { slot, by } of report.accused) this.#pieces[slot]?.accuse(peer, by);
    this.#hold(peer, report.held, now);
    for (const { pieces, state, why } of report.leases) {
      for (const slot of slotsOf(pieces & ~report.held)) {
        if (state === 'returned') this.#piece(slot).giveBack(peer, why ?? 'failed');
        else this.#piece(slot).progress(peer, now);
      }
    }
  }

  /** What another rank knows; own knowledge is newer. */
  learn(knowledge: Knowledge, now: number): void {
    if (knowledge.size !== undefined && this.#sizes.size === undefined)
      this.#sizes.vote(undefined, knowledge.size);
    for (const { peer: id, held } of knowledge.holders.slice(0, MAX_TOLD)) {
      const peer = this.#context.peers.get(id);
      if (!peer.isLive) continue;
      for (const slot of slotsOf(held)) this.#piece(slot).learnHolder(peer, now);
    }
    for (const { peer: id, pieces, leaseMs } of knowledge.leases) {
      const peer = this.#context.peers.get(id);
      if (!peer.isLive) continue;
      for (const slot of slotsOf(pieces)) this.#piece(slot).learnLease(peer, leaseMs, now);
    }
  }

  tell(now: number): Pick<Knowledge, 'size' | 'holders' | 'leases'> {
    const held = new Map<PeerId, PieceMask>();
    const leases: { peer: PeerId; pieces: PieceMask; leaseMs: number }[] = [];
    this.#pieces.forEach((piece, slot) => {
      for (const { peer, state } of piece.sources.all()) {
        if (state !== 'held' || !peer.isLive || (held.size >= MAX_TOLD && !held.has(peer.id))) continue;
        held.set(peer.id, (held.get(peer.id) ?? NO_PIECES) | (1 << slot));
      }
      for (const { peer, progressAt, leaseMs } of piece.leases.current) {
        leases.push({ peer: peer.id, pieces: 1 << slot, leaseMs: Math.max(1, progressAt + leaseMs - now) });
      }
    });
    return {
      size: this.#sizes.size,
      holders: Array.from(held, ([peer, mask]) => ({ peer, held: mask })),
      leases,
    };
  }

  forget(peer: PlannedPeer): void {
    this.#asks.delete(peer.id);
    for (const piece of this.#pieces) piece.forget(peer);
  }

  /** Ends what is over, assigns what can be, and answers. Called after every event. */
  settle(now: number): void {
    for (const piece of this.#pieces) piece.expire(now);
    this.#sweep(now);
    let waiting = NO_PIECES;
    for (const open of this.#asks.values()) waiting |= open.waiting;
    for (const slot of slotsOf(waiting)) this.#assign(slot, now);
    for (const slot of slotsOf(ALL_PIECES & ~waiting)) this.#piece(slot).deferredAt = undefined;
    for (const open of [...this.#asks.values()]) {
      if (!this.mayGrant && !this.isPending && open.waiting !== NO_PIECES) continue;
      const plan = open.takePlan(this.#sizes.size, this.isPending);
      if (plan === null) continue;
      if (plan.isFinal) this.#asks.delete(open.peer.id);
      this.#context.answer(open.handle, plan);
    }
  }

  /** When `settle` is due though nothing was heard. */
  nextAt(now: number): number | undefined {
    let next: number | undefined;
    let isReceiving = false;
    for (const { dueAt, sources } of this.#pieces) {
      if (dueAt !== undefined && (next === undefined || dueAt < next)) next = dueAt;
      isReceiving ||= sources.receiving > 0;
    }
    if (!isReceiving) return next;
    const sweepAt = Math.max(this.#sweptAt, now) + SWEEP_MS;
    return next === undefined ? sweepAt : Math.min(next, sweepAt);
  }

  #piece(slot: number): PiecePlan {
    const piece = this.#pieces[slot];
    if (piece === undefined) throw new RangeError(`slot ${slot} of a segment of ${SEGMENT_PIECES} pieces`);
    return piece;
  }

  /** The same reader asked again: the earlier ask is over. */
  #replace(peer: PlannedPeer): void {
    const old = this.#asks.get(peer.id);
    if (old === undefined) return;
    this.#asks.delete(peer.id);
    old.waiting = NO_PIECES;
    const over = old.takePlan(this.#sizes.size, false);
    if (over !== null) this.#context.answer(old.handle, { ...over, assignments: [] });
  }

  /** `held` is all that it has. */
  #hold(peer: PlannedPeer, held: PieceMask, now: number): void {
    this.#pieces.forEach((piece, slot) => {
      if ((held & (1 << slot)) === 0) piece.lack(peer);
      else piece.hold(peer, now);
    });
  }

  #fail({ from, pieces, why }: FailedHolder, now: number): void {
    const peer = this.#context.peers.get(from);
    if (why === 'silent') peer.doubt(now, this.#context.parameters.doubtMs);
    if (why !== 'gone' && why !== 'wrong') return;
    for (const slot of slotsOf(pieces)) {
      // A lease ends by its own rules, not by what others say of its holder.
      if (this.#piece(slot).sources.get(from)?.state !== 'reading') this.#piece(slot).sources.remove(from);
    }
  }

  /** A piece that the reader wants: it may have been assigned before. */
  #want(open: OpenAsk, slot: number, now: number): void {
    const { sources, leases } = this.#piece(slot);
    const { peer, ask } = open;
    const source = sources.get(peer.id);
    if ((ask.underway & (1 << slot)) !== 0) {
      if (source === undefined) sources.receive(peer, undefined, now);
      return;
    }
    const lease = leases.of(peer);
    if (lease !== undefined) {
      // The reader has not begun: its plan was lost, and its time counts from this one.
      lease.progressAt = now;
      open.assignLease(slot, lease);
      return;
    }
    const parent = source?.parent;
    if (
      parent !== undefined &&
      !open.isBarred(parent.peer.id, slot, 'none') &&
      parent.peer.isLive &&
      !parent.isRemoved
    ) {
      open.assignFetch(slot, [parent]);
      return;
    }
    sources.remove(peer.id);
    open.waiting |= 1 << slot;
  }

  /** What was assigned is slow: another who has it, else a second origin read if the first shows no progress. */
  #hedge(open: OpenAsk, slot: number, now: number): void {
    const { sources, leases, isDisputed } = this.#piece(slot);
    const parent = sources.get(open.peer.id)?.parent;
    const usable = (mercy: Mercy): Source[] =>
      isDisputed ? [] : sources.best(open.peer, (id) => open.isBarred(id, slot, mercy), now);
    const others = usable('none').filter(({ state, peer }) => state === 'held' && peer !== parent?.peer);
    if (others.length > 0) {
      sources.receive(open.peer, others[0], now);
      open.assignFetch(slot, others);
      return;
    }
    // Whoever has it is only busy.
    if (leases.isFree && usable('busy').length > 0) return;
    if (open.leasesLeft <= 0 || !this.mayGrant) return;
    const lease = leases.hedge(open.peer, now);
    if (lease === null) return;
    open.leasesLeft -= 1;
    sources.read(open.peer, now);
    open.assignLease(slot, lease);
  }

  #assign(slot: number, now: number): void {
    const waiters = [...this.#asks.values()].filter(({ waiting }) => (waiting & (1 << slot)) !== 0);
    let left = waiters.filter((open) => !this.#assignSource(open, slot, now, 'none'));
    if (left.length === 0) return;
    const piece = this.#piece(slot);
    const deferredAt = piece.deferredAt ?? now;
    piece.deferredAt = undefined;
    if (piece.leases.isFree && this.mayGrant) {
      const isLate = now - deferredAt >= this.#context.parameters.deferMs;
      const reader = nextReader(left, this.#reading(), now, isLate);
      if (reader === 'later') piece.deferredAt = deferredAt;
      // Its turn comes soon, and that is sooner than from whoever has already been too busy or too slow.
      if (reader === 'later' || reader === 'full') return;
      if (reader !== undefined) {
        this.#grant(reader, slot, now);
        left = left.filter((open) => open !== reader);
      }
    }
    for (const open of left) {
      // Whoever reads it now comes before those who are only forgiven.
      if (this.#assignSource(open, slot, now, 'none')) continue;
      // Its turn to read comes: sooner than from somebody who kept it waiting before.
      const mercy = piece.leases.isFree && open.mayRead(now) ? 'busy' : 'soft';
      this.#assignSource(open, slot, now, mercy);
    }
  }

  #assignSource(open: OpenAsk, slot: number, now: number, mercy: Mercy): boolean {
    const { sources, isDisputed } = this.#piece(slot);
    if (isDisputed) return false;
    // Whom somebody found silent, and who has said nothing since, others need not find silent as well.
    const isBarred = (id: PeerId): boolean =>
      open.isBarred(id, slot, mercy) || (mercy === 'none' && this.#context.peers.get(id).isShunned(now));
    const best = sources.best(open.peer, isBarred, now);
    if (best.length === 0) return false;
    sources.receive(open.peer, best[0], now);
    open.assignFetch(slot, best);
    return true;
  }

  #grant(reader: OpenAsk, slot: number, now: number): void {
    const { leases, sources } = this.#piece(slot);
    reader.leasesLeft -= 1;
    this.#granted.set(reader.peer.id, (this.#granted.get(reader.peer.id) ?? 0) + 1);
    const lease = leases.grant(reader.peer, now);
    sources.read(reader.peer, now);
    reader.assignLease(slot, lease);
  }

  #reading(): SegmentReading {
    const { crowd, parameters } = this.#context;
    return {
      crowd,
      parameters,
      leases: this.#pieces.reduce((sum, { leases }) => sum + leases.current.length, 0),
      leasesOf: (peer) => this.#pieces.filter(({ leases }) => leases.of(peer) !== undefined).length,
      grantedTo: ({ id }) => this.#granted.get(id) ?? 0,
    };
  }

  /** Readers that went quiet are not counted on any more. */
  #sweep(now: number): void {
    if (now - this.#sweptAt < SWEEP_MS) return;
    this.#sweptAt = now;
    for (const piece of this.#pieces) piece.sweep(now);
  }
}
