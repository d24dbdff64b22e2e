import { pieceLength, SEGMENT_PIECES } from '../../src/blob/piece.ts';
import type { PeerId } from '../member.ts';
import type { FetchEnd, FetchId } from './actions.ts';
import type { HuntContext } from './context.ts';
import type { SegmentHunt } from './segment-hunt.ts';
import type { Attempt, WantedPiece } from './wanted-piece.ts';

/** A holder that answers "busy" and names nobody is asked so often before the planner is. */
const BUSY_AGAIN = 3;
const BUSY_PAUSE_MS = 250;
/** Who was busy so often for one piece is as good as stalled: an origin read in its place is worth asking for. */
const BUSY_TOO_OFTEN = 12;
/** A piece that came so many times as fast from elsewhere was rightly not waited for. */
const FASTER = 3;
/** Times the usual patience with a holder that sends other pieces meanwhile. */
const BEHIND_OTHERS = 5;
/** How often the speed of a transfer is looked at. */
const JUDGE_AGAIN_MS = 250;
/** An answer "gone" that took this part of the time allowed means that the piece was still on its way there. */
const WAITED_PART = 0.9;

/** Fetches the pieces of one segment from members: whom next, how long, and when somebody else beside. */
export class PieceFetches {
  readonly #context: HuntContext;
  readonly #owner: SegmentHunt;

  constructor(owner: SegmentHunt, context: HuntContext) {
    this.#owner = owner;
    this.#context = context;
  }

  /** Fetches from the next of its sources. @returns false when none is left. */
  next(piece: WantedPiece, size: number): boolean {
    const { view, slots } = this.#context;
    if (piece.queuedFor !== undefined) return true;
    for (let from = piece.sources.shift(); from !== undefined; from = piece.sources.shift()) {
      if (piece.isTrying(from)) continue;
      if (this.#isShunned(piece, from)) {
        // The plan was made before this was known: the planner may have somebody better.
        this.warn(piece);
        continue;
      }
      if (view.find(from) === undefined || from === view.self.id) {
        // The planner sees members that this node does not.
        piece.fail(from, 'silent');
        continue;
      }
      const source = from;
      piece.queuedFor = source;
      slots.enter(piece, () => this.#start(piece, source, size));
      return true;
    }
    return false;
  }

  /** @param bytes since the last call; 0 is a sign of life. @returns whether they are the first. */
  progress(piece: WantedPiece, id: FetchId, bytes: number): boolean {
    const attempt = piece.attempts.get(id);
    if (attempt === undefined) return false;
    const now = this.#context.clock();
    attempt.lastSignAt = now;
    attempt.bytes += bytes;
    if (bytes === 0) return false;
    attempt.lastByteAt = now;
    this.#context.scores.sends(attempt.from, now);
    if (attempt.firstByteAt !== undefined) return false;
    attempt.firstByteAt = now;
    this.#context.scores.waits.add(now - attempt.startedAt);
    return true;
  }

  /** @returns false when nothing more is tried for the piece. */
  ended(piece: WantedPiece, attempt: Attempt, end: FetchEnd, size: number): boolean {
    const { scores, clock, parameters } = this.#context;
    const now = clock();
    this.#over(piece, attempt, false);
    switch (end.kind) {
      case 'verified': {
        const tookMs = now - (attempt.firstByteAt ?? attempt.startedAt);
        scores.delivered(attempt.from, attempt.length, tookMs, now, tookMs < 2 * parameters.slowMs);
        return true;
      }
      case 'busy':
        return this.#busy(piece, attempt.from, end.others, size);
      case 'gone':
        if (now - attempt.startedAt >= WAITED_PART * parameters.waitMs)
          return this.#busy(piece, attempt.from, [], size);
        break;
      case 'silent':
      case 'wrong':
        scores.failed(attempt.from, now);
        break;
    }
    piece.fail(attempt.from, end.kind);
    return piece.attempts.size > 0 || this.next(piece, size);
  }

  /**
   * The reader has left. When it comes again, as clients do whose request had no answer in time, it is not to wait for the
   * same holders once more.
   */
  left(piece: WantedPiece): void {
    const { clock, parameters } = this.#context;
    const now = clock();
    for (const { from, startedAt } of piece.attempts.values())
      if (now - startedAt >= parameters.leftMs) this.#shun(from);
  }

  /** To be called before a planner is asked for it: who has been unhelpful is the last choice. */
  warn(piece: WantedPiece): void {
    const { clock, scores } = this.#context;
    piece.warn(scores.unhelpful(clock()));
  }

  /** The piece came, by whatever way. */
  came(piece: WantedPiece): void {
    const { clock, scores, slots } = this.#context;
    const { forsaken } = piece;
    if (forsaken === undefined || piece.isTrying(forsaken.from)) return;
    const { from, since, at, leftMs } = forsaken;
    if (clock() - at >= leftMs / FASTER || scores.hasDelivered(from, since)) return;
    slots.forsook(-1);
    this.#shun(from);
  }

  /** Everything about the piece ends: it is here, or not wanted any more. */
  drop(piece: WantedPiece): void {
    this.#context.slots.leave(piece);
    piece.queuedFor = undefined;
    piece.retryAt = undefined;
    for (const attempt of [...piece.attempts.values()]) this.#over(piece, attempt, true);
  }

  /** Ends what takes too long, starts a second fetch beside a slow one. @returns whether the planner is to be asked. */
  check(piece: WantedPiece, size: number): boolean {
    const { clock, scores, slots } = this.#context;
    const now = clock();
    let isStuck = false;
    if (piece.retryAt !== undefined && now >= piece.retryAt) {
      piece.retryAt = undefined;
      isStuck = piece.attempts.size === 0 && !this.next(piece, size);
    }
    for (const attempt of [...piece.attempts.values()]) {
      const isDue = now >= this.#deadline(attempt);
      if (!isDue && !this.#isForsaken(piece, attempt)) continue;
      if (isDue) {
        scores.failed(attempt.from, now);
        this.#shun(attempt.from, attempt.bytes === 0);
      }
      this.#over(piece, attempt, true);
      piece.fail(attempt.from, isDue && attempt.bytes === 0 ? 'silent' : 'slow');
      if (piece.attempts.size === 0 && !this.next(piece, size)) isStuck = true;
    }
    const [attempt] = piece.attempts.values();
    if (attempt !== undefined && this.#maySecond(piece) && now >= this.#alternateAt(attempt)) {
      // Sources that stay behind make no second try of their own: the first that is left is taken.
      if (this.next(piece, size)) slots.seconded();
    }
    return isStuck;
  }

  nextAt(piece: WantedPiece): number | undefined {
    let next = piece.retryAt;
    for (const attempt of piece.attempts.values()) {
      let at = Math.min(this.#deadline(attempt), this.#judgeAt(piece, attempt));
      if (this.#maySecond(piece)) at = Math.min(at, this.#alternateAt(attempt));
      next = next === undefined ? at : Math.min(next, at);
    }
    return next;
  }

  /** Counts a second fetch of a piece. @returns false when it is to have none. */
  second(piece: WantedPiece): boolean {
    if (!this.#maySecond(piece)) return false;
    this.#context.slots.seconded();
    return true;
  }

  /** What nobody awaits yet only takes its turn: a second fetch would take it from others. */
  #maySecond(piece: WantedPiece): boolean {
    if (piece.awaitedAt === undefined) return false;
    const isAlone = piece.attempts.size === 1 && piece.queuedFor === undefined;
    return isAlone && piece.sources.length > 0 && this.#context.slots.maySecond;
  }

  #start(piece: WantedPiece, from: PeerId, size: number): void {
    const { parameters, push, bind, clock } = this.#context;
    const now = clock();
    piece.queuedFor = undefined;
    const id = bind<FetchId>(this.#owner);
    piece.attempts.set(id, {
      id,
      from,
      startedAt: now,
      bytes: 0,
      firstByteAt: undefined,
      lastByteAt: now,
      lastSignAt: now,
      length: pieceLength(this.#owner.name.segment * SEGMENT_PIECES + piece.slot, size),
    });
    const { realm, digest, segment } = this.#owner.name;
    push({
      kind: 'fetch',
      fetch: id,
      to: from,
      question: {
        realm,
        digest,
        size,
        piece: segment * SEGMENT_PIECES + piece.slot,
        urgency: piece.urgency,
        waitMs: parameters.waitMs,
      },
    });
  }

  #over(piece: WantedPiece, attempt: Attempt, isDropped: boolean): void {
    const { push, unbind, slots } = this.#context;
    piece.attempts.delete(attempt.id);
    unbind(attempt.id);
    if (isDropped) push({ kind: 'drop-fetch', fetch: attempt.id });
    slots.free();
  }

  /** Whom it names first; itself again a little later, and now and then the planner is asked for others. */
  #busy(piece: WantedPiece, from: PeerId, others: readonly PeerId[], size: number): boolean {
    const fresh = others.filter((id) => !piece.failed.has(id) && !piece.isTrying(id) && id !== from);
    piece.busy += 1;
    if (fresh.length === 0 && piece.sources.length === 0 && piece.busy % BUSY_AGAIN !== 0) {
      piece.sources = [from];
      // Not at once: that would be a question for each round trip, from everybody who waits.
      piece.retryAt = this.#context.clock() + BUSY_PAUSE_MS;
      return true;
    }
    piece.fail(from, piece.busy < BUSY_TOO_OFTEN ? 'busy' : 'slow');
    piece.sources.push(...fresh.filter((id) => !piece.sources.includes(id)));
    return piece.attempts.size > 0 || this.next(piece, size);
  }

  #deadline(attempt: Attempt): number {
    const { parameters, scores } = this.#context;
    const usualMs = Math.min(scores.answers.most ?? 0, parameters.maxAskMs);
    // Signs of life do not count any more once bytes have come.
    if (attempt.bytes > 0) return this.#quietUntil(attempt, attempt.lastByteAt, parameters.stallMs + usualMs);
    const roundTripsMs = 2 * (scores.measuredRoundTripMs(attempt.from) ?? parameters.askMs);
    return Math.min(
      this.#quietUntil(attempt, attempt.lastSignAt, parameters.silentMs + roundTripsMs + usualMs),
      attempt.startedAt + parameters.waitMs + parameters.graceMs + roundTripsMs,
    );
  }

  /**
   * A narrow line that carries other pieces of the same holder carries its word on this one behind them: seconds later,
   * as full as the buffers on the way are. That it sends something else excuses it for a while only.
   */
  #quietUntil({ from }: Attempt, lastAt: number, patienceMs: number): number {
    const sentAt = this.#context.scores.sentAt(from);
    return Math.max(lastAt + patienceMs, Math.min(sentAt + patienceMs, lastAt + BEHIND_OTHERS * patienceMs));
  }

  /** As long as few wait for a first byte; while bytes come, as long as they come. */
  #alternateAt(attempt: Attempt): number {
    const { parameters, scores } = this.#context;
    const usual = scores.waits.most ?? parameters.alternateMaxMs;
    const patience = Math.max(parameters.alternateMinMs, Math.min(usual, parameters.alternateMaxMs));
    return attempt.bytes > 0 ? attempt.lastByteAt + parameters.stallMs / 2 : attempt.startedAt + patience;
  }

  /**
   * Whether the piece is better had from elsewhere: it would take long yet, and others were many times as fast meanwhile.
   * Where they were only faster, or there were none, a few are tried elsewhere, to see.
   */
  #isForsaken(piece: WantedPiece, attempt: Attempt): boolean {
    const { clock, budget, parameters, scores, slots } = this.#context;
    const now = clock();
    const { from, firstByteAt, bytes, length } = attempt;
    if (piece.failed.has(from)) return false;
    const isShunned = scores.isUnhelpful(from, now);
    if (firstByteAt === undefined) return isShunned;
    const sinceMs = now - firstByteAt;
    if (sinceMs < parameters.judgeMs && !isShunned) return false;
    const leftMs = (sinceMs * (length - bytes)) / bytes;
    if (leftMs < Math.max(parameters.slowMs, sinceMs / 2)) return false;
    const compared = scores.compared(from, firstByteAt, sinceMs + leftMs, now);
    if (compared === 'outclassed') this.#shun(from);
    if (compared === 'outclassed' || isShunned) return true;
    if (compared === 'usual' || !slots.mayForsake) return false;
    // What this node reads itself will show in a moment what is usual now.
    if (compared === 'unknown' && (budget.reading > 0 || sinceMs < parameters.slowMs)) return false;
    slots.forsook(1);
    piece.forsaken = { from, since: firstByteAt, at: now, leftMs };
    return true;
  }

  #judgeAt(piece: WantedPiece, { firstByteAt, from }: Attempt): number {
    const { clock, parameters } = this.#context;
    if (firstByteAt === undefined || piece.failed.has(from)) return Number.POSITIVE_INFINITY;
    return Math.max(firstByteAt + parameters.judgeMs, clock() + JUDGE_AGAIN_MS);
  }

  #isShunned(piece: WantedPiece, from: PeerId): boolean {
    const { clock, scores } = this.#context;
    return scores.isUnhelpful(from, clock()) && !piece.failed.has(from);
  }

  /** It is the last choice for a while, for all pieces. */
  #shun(from: PeerId, isSilent = false): void {
    const { clock, parameters, scores } = this.#context;
    const { unhelpfulMs, maxUnhelpfulMs } = parameters;
    scores.hasBeenUnhelpful(from, clock(), isSilent, unhelpfulMs, maxUnhelpfulMs);
  }
}
