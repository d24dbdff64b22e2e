import type { Digest } from '../../src/blob/digest.ts';
import { SEGMENT_PIECES, segmentOfPiece } from '../../src/blob/piece.ts';
import type { Member, MemberView, PeerId } from '../member.ts';
import type { PieceMark, Plan, Realm, SegmentName } from '../messages.ts';
import type { PieceMask } from '../piece-mask.ts';
import { committee, ranks } from '../placement.ts';
import { Wakeups } from '../wakeups.ts';
import type {
  AskId,
  FetchEnd,
  FetchId,
  HuntAction,
  ReadEnd,
  ReadId,
  Ticket,
  WantOptions,
} from './actions.ts';
import type { HuntContext } from './context.ts';
import { FetchSlots } from './fetch-slots.ts';
import { OriginBudget } from './origin-reads.ts';
import { HUNT_DEFAULTS, type HuntParameters } from './parameters.ts';
import { PeerScores } from './peer-scores.ts';
import { Reporter } from './reporter.ts';
import { SegmentHunt } from './segment-hunt.ts';

/** Planner and understudy: who is asked, and who hears reports. */
const ASKED_RANKS = 2;

/** A blob as the swarm knows it. */
export interface HuntedBlob {
  readonly realm: Realm;
  readonly digest: Digest;
  /** Bytes; undefined until the origin, the index or a planner tells it. */
  readonly size: number | undefined;
}

export interface HuntOptions {
  readonly view: MemberView;
  /** Milliseconds, never going back. */
  readonly clock: () => number;
  /** What of the segment is complete, verified and can be lent, at the time of the call. */
  readonly held: (name: SegmentName) => PieceMask;
  /** Pieces that this node is to send to others: on their way out, waiting for a slot, or awaited here. */
  readonly load?: () => number;
  readonly parameters?: Partial<HuntParameters>;
  /** Called when there is something to do after there was nothing: call `take` later in the same turn of the loop. */
  readonly onActions?: () => void;
}

/**
 * Gets pieces for this node's readers: asks planners, fetches from members, reads from the origin under a lease, and
 * reports what came. A pure state machine: events come in by its methods, what is to be done is taken out with `take`
 * (wants of one segment made before it are one ask), and `tick` is called when `nextAt` has come. One method for each event:
 * that makes the file longer than most.
 */
export class Hunt {
  readonly #view: MemberView;
  readonly #clock: () => number;
  readonly #onActions: () => void;
  readonly #parameters: HuntParameters;
  readonly #segments = new Map<string, SegmentHunt>();
  readonly #tickets = new Map<Ticket, { segment: SegmentHunt; slot: number }>();
  readonly #bound = new Map<AskId | FetchId | ReadId, SegmentHunt>();
  readonly #touched = new Set<SegmentHunt>();
  readonly #wakeups = new Wakeups<SegmentHunt>();
  readonly #reporter: Reporter;
  readonly #budget: OriginBudget;
  readonly #context: HuntContext;
  /** What was seen of each peer. */
  readonly scores = new PeerScores();
  #actions: HuntAction[] = [];
  #isStirred = false;
  #ids = 0;

  constructor(options: HuntOptions) {
    this.#view = options.view;
    this.#clock = options.clock;
    this.#onActions = options.onActions ?? (() => undefined);
    this.#parameters = { ...HUNT_DEFAULTS, ...options.parameters };
    const load = options.load ?? (() => 0);
    this.#budget = new OriginBudget(this.#parameters);
    this.#reporter = new Reporter(options.held, load, (name) => this.#reported(name));
    const { maxFetches, alternateShare } = this.#parameters;
    this.#context = {
      parameters: this.#parameters,
      view: this.#view,
      scores: this.scores,
      budget: this.#budget,
      slots: new FetchSlots(maxFetches, alternateShare),
      reporter: this.#reporter,
      clock: this.#clock,
      held: options.held,
      load,
      leasesLeft: (segment) => this.#leasesLeft(segment),
      planners: (name) => this.#planners(name),
      push: (action) => this.#push(action),
      bind: <I extends AskId | FetchId | ReadId>(segment: SegmentHunt): I => {
        this.#ids += 1;
        this.#bound.set(this.#ids as I, segment);
        // What is bound has a deadline, perhaps in a segment that is not the one looked at now.
        this.#touched.add(segment);
        return this.#ids as I;
      },
      unbind: (id) => this.#bound.delete(id),
    };
  }

  /** A reader waits for a piece of the blob until the ticket is settled or cancelled. */
  want(blob: HuntedBlob, piece: number, options: WantOptions): Ticket {
    this.#ids += 1;
    const ticket = this.#ids as Ticket;
    const segment = this.#segment(blob, segmentOfPiece(piece));
    const slot = piece % SEGMENT_PIECES;
    this.#tickets.set(ticket, { segment, slot });
    segment.want(ticket, slot, options);
    this.#stir(segment);
    return ticket;
  }

  /** The reader has left. An origin read that runs under a lease goes on: others may be waiting for it. */
  cancel(ticket: Ticket): void {
    const wanted = this.#tickets.get(ticket);
    if (wanted === undefined) return;
    this.#tickets.delete(ticket);
    wanted.segment.cancel(ticket, wanted.slot);
    this.#stir(wanted.segment);
  }

  /** Rights were established, the read has become more urgent, or its caller's time is another. */
  change(ticket: Ticket, options: Partial<WantOptions>): void {
    const wanted = this.#tickets.get(ticket);
    if (wanted === undefined) return;
    wanted.segment.change(ticket, wanted.slot, options);
    this.#stir(wanted.segment);
  }

  plan(ask: AskId, plan: Plan): void {
    const segment = this.#bound.get(ask);
    if (segment === undefined) return;
    const before = segment.unassigned;
    segment.plan(ask, plan);
    this.#stir(segment);
    if (segment.unassigned < before) this.#offerLeases();
  }

  /** The call broke, was refused, or ended before a final plan. */
  askFailed(ask: AskId): void {
    this.#to(ask, (segment) => segment.askFailed(ask));
  }

  /** @param bytes since the last call; 0 is a sign of life. */
  fetchProgress(fetch: FetchId, bytes: number): void {
    const segment = this.#bound.get(fetch);
    // Only a first byte brings a deadline nearer; the many that follow cost nothing here.
    if (segment?.fetchProgress(fetch, bytes) === true) this.#stir(segment);
  }

  fetchEnded(fetch: FetchId, end: FetchEnd): void {
    this.#to(fetch, (segment) => segment.fetchEnded(fetch, end));
  }

  /** Bytes came from the origin, or its word that it is slow. */
  readProgress(read: ReadId): void {
    const segment = this.#bound.get(read);
    if (segment === undefined) return;
    segment.readProgress(read);
    this.#stir(segment);
  }

  readEnded(read: ReadId, end: ReadEnd): void {
    const isFull = this.#budget.free === 0;
    this.#to(read, (segment) => segment.readEnded(read, end));
    this.#leasesFreed(isFull);
  }

  /**
   * A piece was handed to those who wait for it here, by whatever way it came; it may not be stored yet. Of an origin
   * read called as each piece completes.
   */
  delivered(blob: HuntedBlob, piece: number): void {
    const segment = this.#segments.get(keyOf(nameOf(blob, segmentOfPiece(piece))));
    if (segment === undefined) return;
    const isFull = this.#budget.free === 0;
    segment.delivered(piece % SEGMENT_PIECES);
    this.#stir(segment);
    this.#leasesFreed(isFull);
  }

  /**
   * A piece can be lent to others from now on: planners hear of it.
   * @param mark of a piece that this node read from the origin, or has proven.
   */
  here(blob: HuntedBlob & { readonly size: number }, piece: number, mark?: Omit<PieceMark, 'slot'>): void {
    const slot = piece % SEGMENT_PIECES;
    const segment = this.#segment(blob, segmentOfPiece(piece));
    const isFull = this.#budget.free === 0;
    segment.here(slot, blob.size, mark === undefined ? undefined : { ...mark, slot });
    this.#stir(segment);
    this.#leasesFreed(isFull);
  }

  /** Pieces of a segment are not here any more. */
  lost(blob: HuntedBlob & { readonly size: number }, segment: number, pieces: PieceMask): void {
    this.#reporter.lost(nameOf(blob, segment), blob.size, pieces, this.#clock());
    this.#wake();
  }

  /** The bytes that `by` vouched for were wrong. */
  accuse(blob: HuntedBlob & { readonly size: number }, piece: number, by: PeerId): void {
    const name = nameOf(blob, segmentOfPiece(piece));
    this.#reporter.accuse(name, blob.size, { slot: piece % SEGMENT_PIECES, by }, this.#clock());
    this.#wake();
  }

  /** The origin has told the size of a blob that nobody knew. */
  learnSize(blob: HuntedBlob, size: number): void {
    for (const segment of this.#segments.values()) {
      if (segment.name.digest !== blob.digest || segment.name.realm !== blob.realm) continue;
      segment.learnSize(size);
      this.#stir(segment);
    }
  }

  /** After the view has changed, or a suspicion is over. */
  membersChanged(): void {
    for (const segment of this.#segments.values()) {
      segment.membersChanged();
      this.#stir(segment);
    }
  }

  tick(): void {
    for (const segment of this.#wakeups.takeDue(this.#clock())) this.#stir(segment);
    if ((this.#reporter.dueAt ?? Number.POSITIVE_INFINITY) <= this.#clock()) this.#wake();
  }

  /** When `tick` is due, on the given clock; to be read after `take`. */
  nextAt(): number | undefined {
    const at = this.#wakeups.next();
    const { dueAt } = this.#reporter;
    return at === undefined ? dueAt : dueAt === undefined ? at : Math.min(at, dueAt);
  }

  /** What is to be done now, in order. */
  take(): HuntAction[] {
    this.#isStirred = false;
    while (this.#touched.size > 0) {
      for (const segment of [...this.#touched]) {
        this.#touched.delete(segment);
        const nextAt = segment.turn();
        this.#wakeups.set(segment, nextAt);
        if (segment.isIdle) this.#segments.delete(keyOf(segment.name));
      }
    }
    for (const [to, reports] of this.#reporter.take(this.#clock()))
      this.#push({ kind: 'report', to, reports });
    const actions = this.#actions;
    this.#actions = [];
    this.#isStirred = false;
    return actions;
  }

  /** For metrics and tests. */
  get size(): { readonly tickets: number; readonly segments: number; readonly reading: number } {
    return { tickets: this.#tickets.size, segments: this.#segments.size, reading: this.#budget.reading };
  }

  /** Where the first ranks are suspect, the next ones stand in: they ask the others before they grant anything. */
  #planners({ digest, segment }: SegmentName): readonly Member[] {
    const all = ranks(digest, segment, committee(digest, this.#view.live()));
    return all.filter(({ id }) => !this.#view.isSuspect(id)).slice(0, ASKED_RANKS);
  }

  /** Suspects are left out while somebody else is there to hear it. */
  #reported(name: SegmentName): readonly PeerId[] {
    const trusted = this.#planners(name);
    const { digest, segment } = name;
    const heard =
      trusted.length > 0
        ? trusted
        : ranks(digest, segment, committee(digest, this.#view.live())).slice(0, ASKED_RANKS);
    return heard.map(({ id }) => id);
  }

  #segment(blob: HuntedBlob, index: number): SegmentHunt {
    const name = nameOf(blob, index);
    const key = keyOf(name);
    let segment = this.#segments.get(key);
    if (segment === undefined) {
      segment = new SegmentHunt(name, blob.size, this.#context);
      this.#segments.set(key, segment);
    } else if (blob.size !== undefined) {
      segment.learnSize(blob.size);
    }
    return segment;
  }

  #to(id: AskId | FetchId | ReadId, tell: (segment: SegmentHunt) => void): void {
    const segment = this.#bound.get(id);
    if (segment === undefined) return;
    tell(segment);
    this.#stir(segment);
  }

  /**
   * A piece that nobody may lease, since what comes after it took all that its readers would read, holds up every reader
   * in order: what was wanted first is offered first.
   */
  #leasesLeft(segment: SegmentHunt): number {
    let left = this.#budget.free;
    for (const other of this.#segments.values()) {
      if (other === segment || left <= 0) break;
      left -= other.unassigned;
    }
    return Math.max(0, left);
  }

  #leasesFreed(wasFull: boolean): void {
    if (wasFull && this.#budget.free > 0) this.#offerLeases();
  }

  #offerLeases(): void {
    let left = this.#budget.free;
    for (const segment of this.#segments.values()) {
      if (left <= 0) return;
      left -= segment.unassigned;
      segment.leasesFree();
      this.#stir(segment);
    }
  }

  #stir(segment: SegmentHunt): void {
    this.#touched.add(segment);
    this.#wake();
  }

  #push(action: HuntAction): void {
    if (action.kind === 'settled') this.#tickets.delete(action.ticket);
    this.#actions.push(action);
    this.#wake();
  }

  #wake(): void {
    if (this.#isStirred) return;
    this.#isStirred = true;
    this.#onActions();
  }
}

function nameOf({ realm, digest }: HuntedBlob, segment: number): SegmentName {
  return { realm, digest, segment };
}

function keyOf({ realm, digest, segment }: SegmentName): string {
  return `${realm}/${digest}/${segment}`;
}
