import type { LeaseEnd } from '../../src/observe/swarm-labels.ts';
import type { PeerId } from '../member.ts';
import type { PieceMark } from '../messages.ts';
import type { Crowd } from './crowd.ts';
import { PieceLeases } from './leases.ts';
import type { PlannerParameters } from './parameters.ts';
import type { PlannedPeer } from './peers.ts';
import { PieceMarks } from './piece-marks.ts';
import { PieceSources } from './piece-sources.ts';

export interface PieceContext {
  readonly parameters: PlannerParameters;
  readonly random: () => number;
  readonly crowd: Crowd;
  /** Once for each piece that nobody reads by that lease any more: to be counted. */
  leaseEnded(why: LeaseEnd): void;
}

/** What a planner knows of one piece: who has it or will, who reads it from the origin, and whose bytes were wrong. */
export class PiecePlan {
  readonly #context: PieceContext;
  readonly sources: PieceSources;
  readonly leases: PieceLeases;
  readonly #marks = new PieceMarks();
  /** Their bytes of it were refuted: not believed to have it until they say that it is lost. */
  readonly #barred = new Set<PlannedPeer>();
  /** Since when those who wait have had their share of leases; somebody else may still come. */
  deferredAt: number | undefined;

  constructor(context: PieceContext) {
    this.#context = context;
    this.sources = new PieceSources(context.parameters, context.random);
    this.leases = new PieceLeases(context.parameters);
  }

  /** Two vouch for different bytes: nobody's are given on. */
  get isDisputed(): boolean {
    return this.#marks.isDisputed;
  }

  /** When something is over though nothing was heard. */
  get dueAt(): number | undefined {
    return this.deferredAt === undefined
      ? this.leases.expiresAt()
      : this.deferredAt + this.#context.parameters.deferMs;
  }

  hold(peer: PlannedPeer, now: number): void {
    const { sources, leases } = this;
    const lease = leases.of(peer);
    if (lease !== undefined && leases.end(peer)) {
      leases.settle();
      this.#context.crowd.width.took(now - lease.grantedAt);
      this.#context.leaseEnded('done');
    }
    if (sources.get(peer.id)?.state === 'held') return;
    if (this.#barred.has(peer) || this.isDisputed) sources.remove(peer.id);
    else sources.hold(peer, now);
  }

  /** It has the piece no more, or never had. */
  lack({ id }: PlannedPeer): void {
    if (this.sources.get(id)?.state === 'held') this.sources.remove(id);
  }

  /** It had the piece, whatever its bytes were, and starts anew. */
  lose(peer: PlannedPeer): void {
    this.#barred.delete(peer);
    this.lack(peer);
  }

  /** What the member holds counts only as far as its digests do. */
  mark(peer: PlannedPeer, mark: PieceMark): void {
    const verdict = this.#marks.add(mark);
    if (verdict === 'refuted' || verdict === 'disputed') this.#bar(peer);
    if (verdict === 'disputed') this.#barHolders(undefined);
    if (verdict === 'overrules') this.#barHolders(peer);
  }

  /** The bytes that `by` vouched for are wrong, as `peer` has seen. */
  accuse(peer: PlannedPeer, by: PeerId): void {
    if (this.#marks.accuse(by)) this.#barHolders(peer);
  }

  /** Another planner says that it has the piece; own knowledge is newer. */
  learnHolder(peer: PlannedPeer, now: number): void {
    if (this.sources.get(peer.id) === undefined && !this.#barred.has(peer)) this.sources.hold(peer, now);
  }

  /** Another planner says that it reads the piece. */
  learnLease(peer: PlannedPeer, leaseMs: number, now: number): void {
    if (!this.leases.isFree || this.sources.get(peer.id)?.state === 'held') return;
    this.leases.grant(peer, now, Math.min(Math.max(leaseMs, 1), this.#context.parameters.maxLeaseMs));
    this.sources.read(peer, now);
  }

  /** It left, or came back as another process. */
  forget(peer: PlannedPeer): void {
    this.#barred.delete(peer);
    if (this.leases.end(peer)) this.#context.leaseEnded('left');
    this.sources.remove(peer.id);
  }

  progress(peer: PlannedPeer, now: number): void {
    if (this.leases.progress(peer, now) || !this.leases.isFree) return;
    // Another planner granted it, or it ended here too early: it reads, so nobody else should.
    this.leases.grant(peer, now);
    if (this.sources.get(peer.id)?.state !== 'held') this.sources.read(peer, now);
  }

  giveBack(peer: PlannedPeer, why: LeaseEnd): void {
    if (!this.leases.end(peer)) return;
    this.#context.leaseEnded(why);
    this.#readsNoMore(peer);
  }

  /** Leases that showed no progress are over. */
  expire(now: number): void {
    for (const { peer } of this.leases.expire(now)) {
      this.#context.leaseEnded('silent');
      this.#readsNoMore(peer);
    }
  }

  /** Readers that went quiet are not counted on any more. */
  sweep(now: number): void {
    if (this.sources.receiving === 0) return;
    for (const { peer, state, since } of [...this.sources.all()]) {
      const isQuiet = state === 'receiving' && now - since >= this.#context.parameters.receivingMs;
      if (isQuiet) this.sources.remove(peer.id);
    }
  }

  #readsNoMore({ id }: PlannedPeer): void {
    if (this.sources.get(id)?.state === 'reading') this.sources.remove(id);
  }

  #bar(peer: PlannedPeer): void {
    this.sources.remove(peer.id);
    this.#barred.add(peer);
  }

  #barHolders(but: PlannedPeer | undefined): void {
    for (const { peer, state } of [...this.sources.all()]) {
      if (state === 'held' && peer !== but) this.#bar(peer);
    }
  }
}
