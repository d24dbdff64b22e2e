import type { PeerId } from '../member.ts';
import type { FailedHolder, PieceMark, Plan, SegmentName } from '../messages.ts';
import { countOf, NO_PIECES, type PieceMask, slotsOf } from '../piece-mask.ts';
import type { AskId, FetchEnd, FetchId, ReadEnd, ReadId, Ticket, WantOptions } from './actions.ts';
import type { HuntContext } from './context.ts';
import { PieceFetches } from './piece-fetches.ts';
import { SegmentReads } from './segment-reads.ts';
import { WantedPiece, type Why } from './wanted-piece.ts';

/** Tried again when neither a planner answers nor the origin may be read. */
const RETRY_MS = 500;
/** After an origin read failed, or a lease was given back. */
const PAUSE_MS = 100;
/** A hedge that was refused is asked for again after so long. */
const HEDGE_AGAIN_MS = 700;
/** Of what was wanted long before somebody awaits it: this part of the usual time until a hedge is left. */
const AWAITED_PART = 1 / 3;
/** How long the planner's word counts that a piece makes progress. */
const COMING_MS = 2_000;

interface Question {
  readonly id: AskId;
  readonly to: PeerId;
  readonly askedAt: number;
  answeredAt: number | undefined;
  readonly hedge: PieceMask;
  readonly leases: number;
  /** Of these not granted yet. */
  leasesLeft: number;
}

/**
 * Everything that this node does to get pieces of one segment. One state machine, and long for that: fetches and reads
 * each have a part of their own, but what becomes of a piece is decided over both and the open question.
 */
export class SegmentHunt {
  readonly name: SegmentName;
  readonly #context: HuntContext;
  readonly #wants = new Map<number, WantedPiece>();
  readonly #fetches: PieceFetches;
  readonly #reads: SegmentReads;
  #size: number | undefined;
  #question: Question | undefined;
  /** Something changed that a planner should hear of. */
  #mustAsk = false;
  /** Wants are gone though a planner counts on them. */
  #hasDropped = false;
  /** Not to ask before. */
  #pausedUntil = 0;

  constructor(name: SegmentName, size: number | undefined, context: HuntContext) {
    this.name = name;
    this.#size = size;
    this.#context = context;
    this.#fetches = new PieceFetches(this, context);
    this.#reads = new SegmentReads(this, context);
  }

  /** Nothing is wanted and nothing under way. */
  get isIdle(): boolean {
    return this.#wants.size === 0 && this.#reads.isIdle && this.#question === undefined && !this.#hasDropped;
  }

  get size(): number | undefined {
    return this.#size;
  }

  /** Pieces that it would read from the origin, and that no planner has assigned yet. */
  get unassigned(): number {
    let count = 0;
    for (const piece of this.#wants.values()) if (piece.mayLease && this.#needs(piece)) count += 1;
    return count;
  }

  /** The origin or a planner has told it. */
  learnSize(size: number): void {
    if (size > 0) this.#size ??= size;
  }

  want(ticket: Ticket, slot: number, options: WantOptions): void {
    let piece = this.#wants.get(slot);
    if (piece === undefined) {
      const now = this.#context.clock();
      piece = new WantedPiece(slot, now);
      this.#wants.set(slot, piece);
    }
    piece.tickets.set(ticket, options);
    piece.tell(this.#context.clock());
    if (options.urgency === 'demand') this.#context.slots.raise(piece);
    if (!this.#needs(piece)) return;
    if (!piece.isAsked || (options.mayLease && this.#question?.leases === 0)) this.#mustAsk = true;
  }

  /** Rights or urgency have changed. */
  change(ticket: Ticket, slot: number, options: Partial<WantOptions>): void {
    const old = this.#wants.get(slot)?.tickets.get(ticket);
    if (old !== undefined) this.want(ticket, slot, { ...old, ...options });
  }

  cancel(ticket: Ticket, slot: number): void {
    const piece = this.#wants.get(slot);
    if (piece === undefined || !piece.tickets.delete(ticket) || piece.tickets.size > 0) return;
    if (piece.isAsked || piece.attempts.size > 0) this.#hasDropped = true;
    this.#fetches.left(piece);
    this.#remove(piece);
  }

  plan(id: AskId, plan: Plan): void {
    const question = this.#question;
    if (question?.id !== id) return;
    const { scores, view, clock } = this.#context;
    const now = clock();
    if (question.answeredAt === undefined && question.to !== view.self.id)
      scores.answered(question.to, now - question.askedAt, now);
    question.answeredAt = now;
    if (plan.size !== undefined) this.learnSize(plan.size);
    for (const assignment of plan.assignments) {
      if (assignment.kind === 'lease') {
        question.leasesLeft -= countOf(assignment.pieces);
        this.#lease(assignment.pieces, assignment.leaseMs, assignment.isHedge);
      } else this.#fetch(assignment.pieces, assignment.from, question.hedge);
    }
    // A hedge that is not granted, or another holder in its place: somebody has the piece, or makes progress with it.
    for (const slot of slotsOf(question.hedge)) {
      const piece = this.#wants.get(slot);
      if (piece !== undefined) piece.comingAt = now;
    }
    if (plan.isFinal) this.#closeQuestion(false);
  }

  /** The call broke, or was refused. */
  askFailed(id: AskId): void {
    if (this.#question?.id === id) this.#suspect(this.#question.to);
  }

  /** @returns whether it was the first byte. */
  fetchProgress(id: FetchId, bytes: number): boolean {
    let isFirst = false;
    for (const piece of this.#wants.values()) isFirst ||= this.#fetches.progress(piece, id, bytes);
    return isFirst;
  }

  fetchEnded(id: FetchId, end: FetchEnd): void {
    for (const piece of this.#wants.values()) {
      const attempt = piece.attempts.get(id);
      if (attempt === undefined) continue;
      if (!this.#fetches.ended(piece, attempt, end, this.#size ?? 0)) this.#mustAsk = true;
      if (end.kind === 'verified') {
        this.#reads.completed(piece.slot, true);
        this.#settle(piece);
      }
      return;
    }
  }

  readProgress(id: ReadId): void {
    this.#reads.progress(id);
  }

  readEnded(id: ReadId, end: ReadEnd): void {
    const left = this.#reads.ended(id, end === 'done' ? 'failed' : end, this.#size);
    if (left !== NO_PIECES) this.#unread(left);
  }

  /** A piece was handed to whoever waits for it here, by whatever way it came. */
  delivered(slot: number): void {
    // The planner has granted all that was offered: there is room for more now.
    if (this.#reads.completed(slot, false)) this.leasesFree();
    const piece = this.#wants.get(slot);
    if (piece !== undefined) this.#settle(piece);
  }

  /** A piece can be lent to others from now on. */
  here(slot: number, size: number, mark: PieceMark | undefined): void {
    this.learnSize(size);
    const { reporter, parameters, clock } = this.#context;
    // A mark comes with what was read from the origin: others may be waiting for it.
    const dueAt = clock() + (mark === undefined ? parameters.reportMs : 0);
    reporter.held(this.name, size, dueAt, mark);
    this.delivered(slot);
  }

  membersChanged(): void {
    const planner = this.#context.planners(this.name)[0];
    if (this.#question !== undefined && this.#question.to !== planner?.id) {
      this.#closeQuestion(true);
      this.#mustAsk = true;
    }
    for (const piece of this.#wants.values()) if (this.#needs(piece) && !piece.isAsked) this.#mustAsk = true;
  }

  /** A lease could be taken that could not before. */
  leasesFree(): void {
    if (this.#question !== undefined && this.#question.leasesLeft <= 0) this.#mustAsk = true;
  }

  /** Looks at every deadline, then asks what is to be asked. @returns when it is to be called again. */
  turn(): number | undefined {
    const { clock } = this.#context;
    const stopped = this.#reads.check(this.#size);
    if (stopped !== NO_PIECES) this.#unread(stopped);
    for (const piece of [...this.#wants.values()]) this.#check(piece);
    this.#checkQuestion();
    if ((this.#mustAsk || this.#hasDropped) && clock() >= this.#pausedUntil) this.#ask();
    return this.#nextAt();
  }

  /** Nothing is done for it yet. */
  #needs(piece: WantedPiece): boolean {
    return (
      piece.attempts.size === 0 &&
      piece.queuedFor === undefined &&
      piece.retryAt === undefined &&
      (this.#reads.pieces & (1 << piece.slot)) === 0
    );
  }

  #lease(pieces: PieceMask, leaseMs: number, isHedge: boolean): void {
    const { budget, parameters } = this.#context;
    let taken = NO_PIECES;
    let refused = NO_PIECES;
    const held = this.#context.held(this.name);
    for (const slot of slotsOf(pieces & ~this.#reads.pieces)) {
      // Several planners may grant at once what was offered to each; twice the limit is where it ends.
      const isTooMany = budget.reading + countOf(taken) >= 2 * parameters.maxLeases;
      const isWanted = this.#wants.has(slot) && (held & (1 << slot)) === 0;
      if (isTooMany || !isWanted) refused |= 1 << slot;
      else taken |= 1 << slot;
    }
    this.#read(taken, leaseMs, isHedge ? 'hedge' : 'lease');
    if (refused === NO_PIECES) return;
    this.#reads.giveBack(refused, 'busy', this.#size);
    this.#unread(refused);
  }

  #read(pieces: PieceMask, leaseMs: number, reason: 'lease' | 'hedge' | 'unleased'): void {
    let isDemand = false;
    for (const slot of slotsOf(pieces)) {
      const piece = this.#wants.get(slot);
      if (piece === undefined) continue;
      piece.isAsked = false;
      isDemand ||= piece.urgency === 'demand';
    }
    this.#reads.start(pieces, leaseMs, reason, isDemand ? 'demand' : 'prefetch', this.#size);
  }

  #fetch(pieces: PieceMask, from: readonly PeerId[], hedge: PieceMask): void {
    for (const slot of slotsOf(pieces)) {
      const piece = this.#wants.get(slot);
      if (piece === undefined) continue;
      piece.isAsked = false;
      piece.sources = from.filter((id) => !piece.isTrying(id));
      // What is under way gets a second holder beside the first, as many as second fetches are allowed, and no third.
      if (!this.#needs(piece) && !((hedge & (1 << slot)) !== 0 && this.#fetches.second(piece))) continue;
      if (this.#size !== undefined) {
        if (!this.#fetches.next(piece, this.#size)) this.#mustAsk = true;
        continue;
      }
      // Without a size no answer can be checked. Whoever reads the first piece will have told it soon.
      this.#mustAsk = true;
      this.#pausedUntil = this.#context.clock() + PAUSE_MS;
    }
  }

  /** Pieces whose origin read ended without them. */
  #unread(pieces: PieceMask): void {
    for (const slot of slotsOf(pieces)) {
      const piece = this.#wants.get(slot);
      if (piece !== undefined) piece.failures += 1;
    }
    this.#mustAsk = true;
    this.#pausedUntil = this.#context.clock() + PAUSE_MS;
  }

  #settle(piece: WantedPiece): void {
    const { push } = this.#context;
    for (const ticket of piece.tickets.keys()) push({ kind: 'settled', ticket, how: 'here' });
    this.#fetches.came(piece);
    this.#remove(piece);
  }

  #remove(piece: WantedPiece): void {
    this.#fetches.drop(piece);
    this.#wants.delete(piece.slot);
  }

  #check(piece: WantedPiece): void {
    const { clock, push, budget } = this.#context;
    const now = clock();
    for (const [ticket, { deadlineAt }] of piece.tickets) {
      if (deadlineAt === undefined || deadlineAt > now || this.#isComing(piece)) continue;
      piece.tickets.delete(ticket);
      push({ kind: 'settled', ticket, how: 'given-up' });
    }
    if (piece.tickets.size === 0) {
      this.#hasDropped = true;
      this.#remove(piece);
      return;
    }
    if (this.#size !== undefined && this.#fetches.check(piece, this.#size)) this.#mustAsk = true;
    const isRead = (this.#reads.pieces & (1 << piece.slot)) !== 0;
    if (isRead || !piece.mayLease) return;
    if (now >= this.#unleasedAt(piece)) {
      if (budget.free > 0 || piece.urgency === 'demand') this.#read(1 << piece.slot, 0, 'unleased');
    } else if (now >= this.#hedgeAt(piece)) {
      piece.wantsHedge = true;
      this.#mustAsk = true;
    }
  }

  /**
   * It is late, and yet on its way: its bytes flow, or the planner has just said that whoever reads it makes progress, or
   * whoever has it is only busy. One more read of the origin would make everybody later.
   */
  #isComing(piece: WantedPiece): boolean {
    const { clock, parameters } = this.#context;
    const since = clock() - COMING_MS;
    for (const { bytes, lastSignAt } of piece.attempts.values()) {
      if (bytes > 0 && lastSignAt > clock() - parameters.stallMs) return true;
    }
    if ((this.#reads.pieces & (1 << piece.slot)) !== 0) return true;
    return piece.comingAt !== undefined && piece.comingAt > since;
  }

  /** When a second origin read of the piece is asked for. */
  #hedgeAt(piece: WantedPiece): number {
    const { hedgeAfterMs, hedgeFailures, reserveMs } = this.#context.parameters;
    if (piece.wantsHedge || piece.urgency !== 'demand') return Number.POSITIVE_INFINITY;
    const { wantedAt, awaitedAt, deadlineAt } = piece;
    let at = wantedAt;
    if (piece.failures < hedgeFailures) {
      // What is ahead of its reader takes its turn: over narrow links that is many seconds, for everybody.
      if (awaitedAt === undefined) return Number.POSITIVE_INFINITY;
      at = Math.max(wantedAt + hedgeAfterMs, awaitedAt + hedgeAfterMs * AWAITED_PART);
    }
    if (deadlineAt !== undefined) at = Math.min(at, deadlineAt - 2 * reserveMs);
    return piece.hedgeAskedAt === undefined ? at : Math.max(at, piece.hedgeAskedAt + HEDGE_AGAIN_MS);
  }

  /** When it is read without a lease: many ways have failed, or its time is nearly over and no planner says that it comes. */
  #unleasedAt(piece: WantedPiece): number {
    const { unleasedFailures, reserveMs } = this.#context.parameters;
    if (piece.failures >= unleasedFailures) return 0;
    const { deadlineAt, comingAt } = piece;
    if (deadlineAt === undefined || piece.urgency !== 'demand' || piece.awaitedAt === undefined)
      return Number.POSITIVE_INFINITY;
    const at = deadlineAt - reserveMs;
    // As long as its word counts: the next one is asked for well before.
    return comingAt === undefined ? at : Math.max(at, comingAt + COMING_MS);
  }

  #checkQuestion(): void {
    const question = this.#question;
    if (question === undefined) return;
    const now = this.#context.clock();
    if (question.answeredAt === undefined) {
      if (now >= this.#answerDue(question)) this.#suspect(question.to);
    } else if (now >= question.answeredAt + this.#context.parameters.refreshMs) {
      this.#mustAsk = true;
    }
  }

  #answerDue({ to, askedAt }: Question): number {
    const { parameters, scores } = this.#context;
    // Where everybody is busy, few planners are silent: they are late.
    const usual = Math.min(scores.answers.most ?? 0, parameters.maxAskMs);
    return askedAt + parameters.askMs + Math.max(scores.roundTripMs(to), usual);
  }

  #suspect(planner: PeerId): void {
    const { view, scores, clock } = this.#context;
    if (planner !== view.self.id) {
      scores.failed(planner, clock());
      view.suspect(planner);
    }
    this.#closeQuestion(true);
    this.#mustAsk = true;
  }

  #closeQuestion(isDropped: boolean): void {
    if (this.#question === undefined) return;
    const { unbind, push } = this.#context;
    unbind(this.#question.id);
    if (isDropped) push({ kind: 'drop-ask', ask: this.#question.id });
    this.#question = undefined;
    for (const piece of this.#wants.values()) piece.isAsked = false;
  }

  #ask(): void {
    const { budget, bind, push, clock, held, parameters } = this.#context;
    this.#mustAsk = false;
    let wanted = NO_PIECES;
    let underway = NO_PIECES;
    let hedge = NO_PIECES;
    let readable = 0;
    let urgency: WantOptions['urgency'] = 'prefetch';
    for (const piece of this.#wants.values()) {
      const bit = 1 << piece.slot;
      wanted |= bit;
      if (this.#needs(piece)) this.#fetches.warn(piece);
      if (!this.#needs(piece)) underway |= bit;
      else if (piece.mayLease) readable += 1;
      if (piece.wantsHedge) {
        hedge |= bit;
        piece.hedgeAskedAt = clock();
      }
      piece.wantsHedge = false;
      if (piece.urgency === 'demand') urgency = 'demand';
    }
    const isNeedless = wanted === underway && hedge === NO_PIECES && !this.#hasDropped;
    this.#closeQuestion(true);
    this.#hasDropped = false;
    if (isNeedless) return;
    const planner = this.#context.planners(this.name)[0];
    if (planner === undefined) {
      this.#readUnleased(wanted & ~underway);
      return;
    }
    // Hedges have a budget of their own.
    const load = this.#context.load();
    // Whoever has much to send would only get more to send by reading ahead of the others.
    const isLoaded = load >= parameters.maxLoad;
    // Without a budget it is a question still: a refusal says that the piece is on its way.
    const hedges = Math.min(countOf(hedge), budget.hedges);
    const leases = Math.max(isLoaded ? 0 : Math.min(readable, this.#context.leasesLeft(this)), hedges);
    const id = bind<AskId>(this);
    this.#question = {
      id,
      to: planner.id,
      askedAt: clock(),
      answeredAt: undefined,
      hedge,
      leases,
      leasesLeft: leases,
    };
    for (const piece of this.#wants.values()) piece.isAsked = this.#needs(piece);
    const { realm, digest, segment } = this.name;
    push({
      kind: 'ask',
      ask: id,
      to: planner.id,
      question: {
        realm,
        digest,
        segment,
        size: this.#size,
        wanted,
        underway,
        held: held(this.name),
        leases,
        urgency,
        load,
        failed: this.#failed(),
        hedge,
      },
    });
  }

  /** Planner and understudy are silent: never worse than no mirror. */
  #readUnleased(pieces: PieceMask): void {
    const { budget, clock } = this.#context;
    let taken = NO_PIECES;
    for (const slot of slotsOf(pieces)) {
      if (this.#wants.get(slot)?.mayLease === true && countOf(taken) < budget.free) taken |= 1 << slot;
    }
    this.#read(taken, 0, 'unleased');
    if (taken === pieces) return;
    this.#mustAsk = true;
    this.#pausedUntil = clock() + RETRY_MS;
  }

  #failed(): FailedHolder[] {
    const groups = new Map<string, { from: PeerId; why: Why; pieces: PieceMask }>();
    for (const piece of this.#wants.values()) {
      for (const [from, why] of piece.failed) {
        const key = `${why} ${from}`;
        const group = groups.get(key) ?? { from, why, pieces: NO_PIECES };
        group.pieces |= 1 << piece.slot;
        groups.set(key, group);
      }
    }
    return [...groups.values()];
  }

  #nextAt(): number | undefined {
    const now = this.#context.clock();
    const times: (number | undefined)[] = [this.#reads.nextAt()];
    if (this.#mustAsk || this.#hasDropped) times.push(this.#pausedUntil);
    const question = this.#question;
    if (question !== undefined) {
      times.push(
        question.answeredAt === undefined
          ? this.#answerDue(question)
          : question.answeredAt + this.#context.parameters.refreshMs,
      );
    }
    const read = this.#reads.pieces;
    for (const piece of this.#wants.values()) {
      times.push(this.#fetches.nextAt(piece));
      for (const { deadlineAt } of piece.tickets.values()) {
        // Past it, it is the planner's word that is looked at again.
        if (deadlineAt !== undefined) times.push(deadlineAt > now ? deadlineAt : now + PAUSE_MS);
      }
      if ((read & (1 << piece.slot)) !== 0 || !piece.mayLease) continue;
      times.push(this.#unleasedAt(piece));
      times.push(this.#hedgeAt(piece));
    }
    let next: number | undefined;
    for (const at of times) {
      if (at !== undefined && at !== Number.POSITIVE_INFINITY && (next === undefined || at < next)) next = at;
    }
    return next;
  }
}
