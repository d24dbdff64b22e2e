import type { VerifiedPiece } from '../../src/blob/source.ts';
import type { UrgencyLevel } from '../../src/blob/urgency.ts';
import { DamselflyError, hasCode } from '../../src/errors.ts';
import type { SwarmMetrics } from '../../src/observe/swarm-metrics.ts';
import type { Exchange, PieceBufferPool } from '../exchange.ts';
import type { AskId, FetchId, HuntAction, ReadId, Ticket } from '../hunt/actions.ts';
import { Hunt, type HuntedBlob, type HuntOptions } from '../hunt/hunt.ts';
import type { MemberView, PeerId } from '../member.ts';
import type { Plan, Report } from '../messages.ts';
import type { Trust } from '../trust/trust.ts';
import { FetchesUnderway } from './fetches-underway.ts';
import { hashPiece } from './piece-hash.ts';
import type { PlannerDesk } from './planner-desk.ts';
import { Pump } from './pump.ts';
import type { Transfers } from './transfers.ts';
import { type Acquired, type Waiter, Waiters } from './waiters.ts';

/** One for all: a reason made for each would cost a stack trace each. */
const DROPPED = new DamselflyError('deadline', 'Nobody waits for it any more');

export interface HunterParts {
  readonly view: MemberView & { heardFrom(id: PeerId): void };
  readonly exchange: Exchange;
  readonly desk: PlannerDesk;
  readonly trust: Trust;
  readonly pool: PieceBufferPool;
  readonly transfers: Transfers;
  readonly held: HuntOptions['held'];
  readonly load: NonNullable<HuntOptions['load']>;
  readonly metrics: SwarmMetrics;
  /** Bytes of verified pieces. */
  readonly received: (bytes: number) => void;
  /** Milliseconds, never going back. */
  readonly clock: () => number;
}

/**
 * Carries out what the hunt decides: questions to planners, fetches from members, leases for whoever waits. One method for
 * each of its actions, and so a little long.
 */
export class Hunter {
  readonly hunt: Hunt;
  readonly #parts: HunterParts;
  readonly #pump: Pump<HuntAction>;
  readonly #waiters = new Waiters();
  /** Of waiters that read the piece from the origin now: the hunt goes on for them until it is here, or they give up. */
  readonly #reading = new Map<string, Set<Ticket>>();
  /** Asks and fetches under way. */
  readonly #calls = new Map<AskId | FetchId, AbortController>();
  readonly #fetches = new FetchesUnderway();
  /** Reads that were granted, and what ends them before they have begun. */
  readonly #reads = new Map<ReadId, () => void>();
  /** Members that said nothing when they were asked, and were suspect since. */
  readonly #gone = new Set<PeerId>();
  readonly #stopping = new AbortController();

  constructor(parts: HunterParts) {
    this.#parts = parts;
    const { view, clock, held, load } = parts;
    this.hunt = new Hunt({
      view,
      clock,
      held,
      load,
      // Whoever waits opens the origin for its own piece.
      parameters: { leaseRun: 1 },
      onActions: () => this.#pump.wake(),
    });
    this.#pump = new Pump(this.hunt, (action) => this.#perform(action), clock);
  }

  /**
   * Resolves when it is known how the piece is to be had. After 'read' the ticket goes on until the piece is told to be here, or
   * `release` was called.
   * @throws the signal's reason.
   */
  acquire(
    blob: HuntedBlob,
    piece: number,
    options: {
      readonly urgency: { readonly level: UrgencyLevel; onRaise(listener: () => void): () => void };
      readonly awaited: { readonly isSo: boolean; onBegin(listener: () => void): () => void };
      /** From when somebody awaits it, and from now while nobody does. */
      readonly patienceMs: number;
      readonly aheadPatienceMs: number;
      readonly signal: AbortSignal;
    },
  ): Promise<Acquired> {
    const { urgency, awaited, patienceMs, aheadPatienceMs, signal } = options;
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const { clock } = this.#parts;
      const isAwaited = awaited.isSo;
      const deadlineAt = clock() + (isAwaited ? patienceMs : aheadPatienceMs);
      const want = { urgency: urgency.level, mayLease: true, isAwaited, deadlineAt };
      const ticket = this.hunt.want(blob, piece, want);
      const key = keyOf(blob, piece);
      const forgetUrgency = urgency.onRaise(() => this.hunt.change(ticket, { urgency: 'demand' }));
      const forgetAwaited = awaited.onBegin(() =>
        this.hunt.change(ticket, { isAwaited: true, deadlineAt: clock() + patienceMs }),
      );
      const end = (): void => {
        forgetUrgency();
        forgetAwaited();
        signal.removeEventListener('abort', leave);
        this.#waiters.remove(waiter);
      };
      const leave = (): void => {
        end();
        this.hunt.cancel(ticket);
        reject(signal.reason);
      };
      const waiter: Waiter = {
        ticket,
        key,
        settle: (outcome) => {
          end();
          resolve(outcome);
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /** @param onDropped the lease is over: called at most once, until `readEnds` is. */
  readBegins(read: ReadId, onDropped: () => void): void {
    this.#reads.set(read, onDropped);
  }

  readEnds(read: ReadId): void {
    this.#reads.delete(read);
  }

  /** Whoever was told to read the piece from the origin has got it, or has given up. */
  release({ realm, digest }: Pick<HuntedBlob, 'realm' | 'digest'>, piece: number, ticket: Ticket): void {
    const key = keyOf({ realm, digest }, piece);
    const tickets = this.#reading.get(key);
    tickets?.delete(ticket);
    if (tickets?.size === 0) this.#reading.delete(key);
    this.hunt.cancel(ticket);
  }

  /** Whether the piece is being fetched from this member, and comes from nowhere else. */
  isAskedFor(blob: Pick<HuntedBlob, 'realm' | 'digest'>, piece: number, of: PeerId): boolean {
    const key = keyOf(blob, piece);
    return !this.#reading.has(key) && this.#fetches.has(key, of);
  }

  /** It asked or told this node something: it is there. */
  heardFrom(id: PeerId): void {
    this.#parts.view.heardFrom(id);
    this.hunt.scores.heardFrom(id, this.#parts.clock());
  }

  /** Who was taken for gone by all, and is back, may be asked again as well. */
  membersChanged(): void {
    const { view, clock } = this.#parts;
    for (const id of this.hunt.scores.unhelpful(clock())) if (view.isSuspect(id)) this.#gone.add(id);
    for (const id of this.#gone) {
      if (view.isSuspect(id)) continue;
      this.#gone.delete(id);
      this.hunt.scores.heardFrom(id, clock());
    }
    this.hunt.membersChanged();
  }

  stop(): void {
    this.#pump.stop();
    this.#stopping.abort();
    for (const waiter of this.#waiters.all()) waiter.settle({ kind: 'origin' });
  }

  #perform(action: HuntAction): void {
    switch (action.kind) {
      case 'ask':
        void this.#ask(action);
        return;
      case 'fetch':
        void this.#fetch(action);
        return;
      case 'drop-ask':
        this.#calls.get(action.ask)?.abort(DROPPED);
        return;
      case 'drop-fetch':
        this.#calls.get(action.fetch)?.abort(DROPPED);
        return;
      case 'read':
        this.#read(action);
        return;
      case 'drop-read':
        this.#dropRead(action.read);
        return;
      case 'report':
        void this.#report(action.to, action.reports);
        return;
      case 'settled':
        // 'here' comes by way of the fetch, or of the store.
        this.#waiters.of(action.ticket)?.settle({ kind: 'origin' });
        if (action.how === 'given-up') this.#parts.metrics.planning.readUnleased('late', 1);
        return;
    }
  }

  async #ask({ ask, to, question }: Extract<HuntAction, { kind: 'ask' }>): Promise<void> {
    const { view, exchange, desk, metrics, clock } = this.#parts;
    const call = this.#call(ask);
    const askedAt = clock();
    let isAnswered = false;
    const onPlan = (plan: Plan): void => {
      if (call.signal.aborted) return;
      metrics.planning.planned('received');
      if (!isAnswered) metrics.planning.planAnswered((clock() - askedAt) / 1000);
      isAnswered = true;
      if (to !== view.self.id) view.heardFrom(to);
      this.hunt.plan(ask, plan);
    };
    metrics.planning.asked('sent');
    try {
      const member = view.find(to);
      if (to === view.self.id) await desk.ask(to, question, onPlan, call.signal);
      else if (member !== undefined) await exchange.ask(member, question, onPlan, call.signal);
    } catch {
      // The hunt turns to the understudy.
    } finally {
      this.#calls.delete(ask);
      if (!call.signal.aborted) this.hunt.askFailed(ask);
    }
  }

  async #fetch({ fetch, to, question }: Extract<HuntAction, { kind: 'fetch' }>): Promise<void> {
    const { view, exchange, trust, pool, metrics, clock, transfers } = this.#parts;
    const { realm, digest, size, piece, urgency } = question;
    const call = this.#call(fetch);
    const beganAt = clock();
    const key = keyOf({ realm, digest }, piece);
    const underway = this.#fetches.begin(fetch, key, to);
    const transfer = transfers.begin({ direction: 'from', peer: to, digest, piece, urgency });
    const ended = (outcome: Parameters<SwarmMetrics['exchange']['fetchEnded']>[0]): void =>
      metrics.exchange.fetchEnded(call.signal.aborted ? 'given-up' : outcome, (clock() - beganAt) / 1000);
    try {
      const member = view.find(to);
      if (member === undefined || trust.standing.isQuarantined(to)) {
        ended('unreachable');
        this.hunt.fetchEnded(fetch, { kind: 'gone' });
        return;
      }
      const outcome = await exchange.fetch(
        member,
        question,
        (bytes) => {
          transfer.add(bytes);
          this.hunt.fetchProgress(fetch, bytes);
        },
        call.signal,
      );
      view.heardFrom(to);
      if (outcome.kind !== 'piece') {
        ended(outcome.kind);
        this.hunt.fetchEnded(fetch, outcome);
        return;
      }
      const { bytes, voucher } = outcome;
      if (underway.isHedge) metrics.planning.hedged('peer', bytes.length);
      const sha256 = await hashPiece(bytes);
      const fact = { realm, digest, size, piece, sha256 };
      const verdict = trust.receive(to, fact, bytes.length, voucher);
      if (verdict.taken) {
        ended('piece');
        trust.standing.delivered(to);
        this.#parts.received(bytes.length);
        this.#arrived({ realm, digest, size }, { index: piece, bytes, sha256 });
        this.hunt.fetchEnded(fetch, { kind: 'verified' });
        return;
      }
      pool.give(bytes);
      ended('wrong');
      metrics.trust.voucherRefused(verdict.why);
      if (verdict.next === 'origin') this.#toOrigin(key);
      // Only bytes that nobody has signed are the sender's own fault.
      const isSendersFault = verdict.why === 'length' || verdict.why === 'signature';
      this.hunt.fetchEnded(fetch, { kind: isSendersFault ? 'wrong' : 'gone' });
    } catch (error) {
      ended(
        hasCode(error, 'peer-refused') ? 'refused' : hasCode(error, 'peer-broken') ? 'broken' : 'unreachable',
      );
      if (call.signal.aborted) return;
      trust.standing.note(to, 'failed');
      this.hunt.fetchEnded(fetch, { kind: 'silent' });
    } finally {
      underway.end();
      transfer.end();
      this.#calls.delete(fetch);
    }
  }

  /** The first who waits gets it: a node has one flight for a piece. Whoever else waits is told by the store. */
  #arrived(blob: HuntedBlob & { readonly size: number }, piece: VerifiedPiece): void {
    const first = this.#waiters.first(keyOf(blob, piece.index));
    if (first === undefined) this.#parts.pool.give(piece.bytes);
    else first.settle({ kind: 'piece', size: blob.size, piece });
  }

  #toOrigin(key: string): void {
    for (const waiter of this.#waiters.forPiece(key)) {
      waiter.settle({ kind: 'origin' });
      this.hunt.cancel(waiter.ticket);
    }
  }

  #read({ read, segment, pieces, reason }: Extract<HuntAction, { kind: 'read' }>): void {
    const { metrics } = this.#parts;
    const count = pieces.end - pieces.first;
    if (reason === 'unleased') metrics.planning.readUnleased('silent', count);
    else if (isAlone(this.#parts.view)) metrics.planning.readUnleased('alone', count);
    for (let piece = pieces.first; piece < pieces.end; piece += 1) {
      const key = keyOf(segment, piece);
      const first = this.#waiters.first(key);
      if (first === undefined) {
        this.hunt.readEnded(read, 'failed');
        // They read it already, since before an earlier lease was over: there is nothing to find for them.
        for (const ticket of this.#reading.get(key) ?? []) this.hunt.cancel(ticket);
        continue;
      }
      this.#reading.set(key, (this.#reading.get(key) ?? new Set()).add(first.ticket));
      first.settle({ kind: 'read', read, reason, ticket: first.ticket });
    }
  }

  #dropRead(read: ReadId): void {
    const drop = this.#reads.get(read);
    this.#reads.delete(read);
    drop?.();
  }

  async #report(to: PeerId, reports: readonly Report[]): Promise<void> {
    const { view, exchange, desk, metrics } = this.#parts;
    if (to === view.self.id) {
      desk.report(to, reports);
      return;
    }
    const member = view.find(to);
    if (member === undefined) return;
    metrics.planning.reported('sent', reports.length);
    // Best effort: the next report carries all that is held. A dial has a deadline of its own.
    await exchange.report(member, reports, this.#stopping.signal).catch(() => undefined);
  }

  #call(id: AskId | FetchId): AbortController {
    const call = new AbortController();
    this.#calls.set(id, call);
    if (this.#stopping.signal.aborted) call.abort(DROPPED);
    return call;
  }
}

/** It knows others, and takes all of them for gone: what it reads, they may be reading too. */
function isAlone(view: MemberView): boolean {
  const others = view.live().filter(({ id }) => id !== view.self.id);
  return others.length > 0 && others.every(({ id }) => view.isSuspect(id));
}

function keyOf({ realm, digest }: Pick<HuntedBlob, 'realm' | 'digest'>, piece: number): string {
  return `${realm}/${digest}/${piece}`;
}
