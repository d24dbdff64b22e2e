import { type PieceRun, SEGMENT_PIECES } from '../../src/blob/piece.ts';
import type { UrgencyLevel } from '../../src/blob/urgency.ts';
import type { LeaseReport } from '../messages.ts';
import { countOf, NO_PIECES, type PieceMask } from '../piece-mask.ts';
import type { ReadId, ReadReason } from './actions.ts';
import type { HuntContext } from './context.ts';
import type { OriginRead } from './origin-reads.ts';
import type { SegmentHunt } from './segment-hunt.ts';

/** What this node reads of one segment from the origin, and the leases under which it does. */
export class SegmentReads {
  readonly #context: HuntContext;
  readonly #owner: SegmentHunt;
  readonly #reads = new Map<ReadId, OriginRead>();

  constructor(owner: SegmentHunt, context: HuntContext) {
    this.#owner = owner;
    this.#context = context;
  }

  get isIdle(): boolean {
    return this.#reads.size === 0;
  }

  /** Pieces that are being read. */
  get pieces(): PieceMask {
    let mask = NO_PIECES;
    for (const { pieces } of this.#reads.values()) mask |= pieces;
    return mask;
  }

  /** Starts reads of the given pieces, in runs. */
  start(
    pieces: PieceMask,
    leaseMs: number,
    reason: ReadReason,
    urgency: UrgencyLevel,
    size: number | undefined,
  ): void {
    const { parameters, push, budget, bind, reporter, clock } = this.#context;
    const base = this.#owner.name.segment * SEGMENT_PIECES;
    // Hedges one by one: each may be overtaken by the read that it hedges.
    for (const { first, end } of runsOf(pieces, reason === 'hedge' ? 1 : parameters.leaseRun)) {
      const id = bind<ReadId>(this.#owner);
      const mask = 2 ** end - 2 ** first;
      const now = clock();
      this.#reads.set(id, {
        ...{ id, reason, pieces: mask, leaseMs },
        ...{ startedAt: now, reportedAt: now, hasProgress: false },
      });
      budget.started(reason, end - first);
      push({
        kind: 'read',
        read: id,
        segment: this.#owner.name,
        pieces: { first: base + first, end: base + end },
        reason,
        urgency,
      });
      // So that the understudy knows of it as well.
      if (reason !== 'unleased') reporter.progress(this.#owner.name, size ?? 0, mask, clock());
    }
  }

  progress(id: ReadId): void {
    const read = this.#reads.get(id);
    if (read !== undefined) read.hasProgress = true;
  }

  /**
   * A piece is complete. @param isFetched by a fetch: what a hedge still brings of it is of no more use.
   * @returns whether it was being read.
   */
  completed(slot: number, isFetched: boolean): boolean {
    let wasRead = false;
    for (const read of [...this.#reads.values()]) {
      if ((read.pieces & (1 << slot)) === 0) continue;
      wasRead = true;
      this.#take(read, 1 << slot);
      if (!isFetched) this.#context.scores.arrived(undefined, read.startedAt, this.#context.clock());
      if (read.pieces !== NO_PIECES) continue;
      if (isFetched && read.reason === 'hedge') this.#context.push({ kind: 'drop-read', read: read.id });
      this.#end(read);
    }
    return wasRead;
  }

  /** @returns the pieces that it leaves unread. */
  ended(id: ReadId, why: NonNullable<LeaseReport['why']>, size: number | undefined): PieceMask {
    const read = this.#reads.get(id);
    if (read === undefined) return NO_PIECES;
    const left = read.pieces;
    this.#take(read, left);
    this.#end(read);
    if (read.reason !== 'unleased') this.giveBack(left, why, size);
    return left;
  }

  /** Leases that are not used: others may read these pieces. */
  giveBack(pieces: PieceMask, why: NonNullable<LeaseReport['why']>, size: number | undefined): void {
    const { reporter, clock } = this.#context;
    if (pieces !== NO_PIECES) reporter.returned(this.#owner.name, size ?? 0, pieces, why, clock());
  }

  /** Reports progress, and stops before a lease ends. @returns pieces whose read was stopped. */
  check(size: number | undefined): PieceMask {
    const { clock, parameters, reporter } = this.#context;
    const now = clock();
    let stopped = NO_PIECES;
    for (const read of [...this.#reads.values()]) {
      if (read.reason === 'unleased') continue;
      if (read.hasProgress && now >= read.reportedAt + parameters.progressMs) {
        read.hasProgress = false;
        read.reportedAt = now;
        reporter.progress(this.#owner.name, size ?? 0, read.pieces, now);
      } else if (now >= read.reportedAt + read.leaseMs - parameters.leaseMarginMs) {
        stopped |= read.pieces;
        this.#stop(read, 'failed', size);
      }
    }
    return stopped;
  }

  nextAt(): number | undefined {
    const { parameters } = this.#context;
    let next: number | undefined;
    for (const { reason, reportedAt, leaseMs, hasProgress } of this.#reads.values()) {
      if (reason === 'unleased') continue;
      const at = reportedAt + (hasProgress ? parameters.progressMs : leaseMs - parameters.leaseMarginMs);
      next = next === undefined ? at : Math.min(next, at);
    }
    return next;
  }

  #stop(read: OriginRead, why: NonNullable<LeaseReport['why']>, size: number | undefined): void {
    this.#context.push({ kind: 'drop-read', read: read.id });
    const left = read.pieces;
    this.#take(read, left);
    this.#end(read);
    this.giveBack(left, why, size);
  }

  #take(read: OriginRead, pieces: PieceMask): void {
    read.pieces &= ~pieces;
    this.#context.budget.ended(countOf(pieces));
  }

  #end(read: OriginRead): void {
    this.#reads.delete(read.id);
    this.#context.unbind(read.id);
  }
}

/** Consecutive pieces, at most `longest` together; slots of the segment. */
function runsOf(pieces: PieceMask, longest: number): PieceRun[] {
  const runs: { first: number; end: number }[] = [];
  for (let slot = 0; slot < SEGMENT_PIECES; slot += 1) {
    if ((pieces & (1 << slot)) === 0) continue;
    const last = runs.at(-1);
    if (last !== undefined && last.end === slot && last.end - last.first < longest) last.end += 1;
    else runs.push({ first: slot, end: slot + 1 });
  }
  return runs;
}
