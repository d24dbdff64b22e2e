import { SEGMENT_PIECES } from '../../src/blob/piece.ts';
import type { KnownBlob, PieceSink, PieceSource } from '../../src/blob/source.ts';
import type { Upstream } from '../../src/blob/upstream.ts';
import type { Logger } from '../../src/observe/log.ts';
import type { SwarmGauges } from '../../src/observe/swarm-gauges.ts';
import type { SwarmMetrics } from '../../src/observe/swarm-metrics.ts';
import type { ExchangeLoad } from '../exchange/exchange-parts.ts';
import type { Exchange, ExchangeHandlers, PieceBufferPool } from '../exchange.ts';
import type { MemberView, PeerId } from '../member.ts';
import type { PieceMark, Realm, Report, SegmentName } from '../messages.ts';
import { ALL_PIECES, maskOf, NO_PIECES, type PieceMask } from '../piece-mask.ts';
import type { Shelf } from '../shelf.ts';
import type { SwarmStatus } from '../status.ts';
import type { Quarantine } from '../trust/standing.ts';
import type { PieceFact } from '../trust/statement.ts';
import type { Trust } from '../trust/trust.ts';
import type { TrustEvents } from '../trust/trust-events.ts';
import { Announcer } from './announcer.ts';
import { Arrivals } from './arrivals.ts';
import { Figures } from './figures.ts';
import { Hunter } from './hunter.ts';
import { LoopClock } from './loop-clock.ts';
import { PlannerDesk } from './planner-desk.ts';
import { ProofTeller } from './proof-teller.ts';
import { ServeDesk } from './serve-desk.ts';
import { SwarmSource } from './swarm-source.ts';
import { Transfers } from './transfers.ts';

/** Changed vouchers are written down so often. */
const FLUSH_MS = 1_000;

export interface SwarmParts {
  readonly view: MemberView & { heardFrom(id: PeerId): void };
  readonly exchange: Exchange & { load(): ExchangeLoad; cutOff(peer: PeerId): void };
  readonly shelf: Shelf;
  readonly pool: PieceBufferPool;
  readonly origin: PieceSource;
  readonly sink: PieceSink;
  /** Made with the events that it is given. */
  readonly trust: (events: TrustEvents) => Trust;
  /** Undefined where the origin does not share. */
  readonly realmOf: (upstream: Upstream) => Realm | undefined;
  readonly listen: SwarmStatus['listen'];
  readonly connections: () => SwarmGauges['connections'];
  readonly metrics: SwarmMetrics;
  /** Bytes of verified pieces that came from members. */
  readonly received: (bytes: number) => void;
  readonly log: Logger;
}

/** This node's part in the swarm: what it asks of others, what it plans for them, what it gives them, whom it believes. */
export class Swarm {
  /** In place of the origin, for flights. */
  readonly source: SwarmSource;
  /** In place of the store's, for flights. */
  readonly sink: PieceSink;
  /** For the exchange. */
  readonly handlers: ExchangeHandlers;
  readonly #clock = new LoopClock();
  readonly #arrivals = new Arrivals();
  readonly #parts: SwarmParts;
  readonly #trust: Trust;
  readonly #hunter: Hunter;
  readonly #desk: PlannerDesk;
  readonly #announcer: Announcer;
  readonly #transfers: Transfers;
  readonly #forgetView: () => void;
  readonly #flushTimer: NodeJS.Timeout;
  readonly #teller: ProofTeller;
  readonly #figures: Figures;
  readonly #stopping = new AbortController();
  #hadPeers = false;

  constructor(parts: SwarmParts) {
    this.#parts = parts;
    const { view, exchange, shelf, pool, metrics } = parts;
    const clock = (): number => this.#clock.now();
    const arrivals = this.#arrivals;
    this.#transfers = new Transfers(clock);
    this.#trust = parts.trust(this.#events());
    this.#trust.opened([...shelf.inventory()].map(({ blob }) => blob));
    this.#desk = new PlannerDesk({
      ...{ view, exchange, metrics, clock },
      tellProven: (to, plan, pieces) => this.#teller.reader(to, plan, pieces),
    });
    this.#hunter = new Hunter({
      view,
      exchange,
      desk: this.#desk,
      trust: this.#trust,
      pool,
      transfers: this.#transfers,
      held: (name) => this.#held(name),
      load: () => this.#load(),
      metrics,
      received: parts.received,
      clock,
    });
    this.#teller = new ProofTeller({
      ...{ view, exchange, trust: this.#trust },
      realmsOf: (digest) => shelf.realmsOf(digest),
      holders: (name, slot) => this.#desk.holders(name, slot),
      held: (name) => this.#held(name),
      load: () => this.#load(),
      here: (blob, piece, mark) => this.#hunter.hunt.here(blob, piece, mark),
      signal: this.#stopping.signal,
    });
    this.#figures = new Figures({
      ...{ view, exchange, desk: this.#desk, transfers: this.#transfers },
      standing: this.#trust.standing,
      hunt: this.#hunter.hunt,
      listen: parts.listen,
      connections: parts.connections,
    });
    this.source = new SwarmSource({
      origin: parts.origin,
      hunter: this.#hunter,
      arrivals,
      realmOf: parts.realmOf,
      hasPeers: () => this.#company(),
      readAlone: (pieces) => metrics.planning.readUnleased('alone', pieces),
      hedged: (bytes) => metrics.planning.hedged('origin', bytes),
      isSuspect: (digest) => this.#trust.isSuspect(digest),
      clock,
    });
    this.sink = { put: (blob, piece, bytes, sha256) => this.#put(blob, piece, bytes, sha256) };
    this.handlers = this.#handlersOver(
      new ServeDesk({
        shelf,
        arrivals,
        isAskedFor: (fetch, of) => this.#hunter.isAskedFor(fetch, fetch.piece, of),
        voucherFor: (fact) => this.#trust.voucherFor(fact),
      }),
    );
    this.#announcer = new Announcer({
      view,
      shelf,
      announce: (blob, piece) => this.#hunter.hunt.here(blob, piece),
    });
    this.#forgetView = view.onChange(() => this.#membersChanged());
    this.#flushTimer = setInterval(() => this.#trust.book.flush(), FLUSH_MS);
    this.#flushTimer.unref();
    metrics.watch(() => this.#figures.gauges());
    this.#announcer.changed();
  }

  hasPeers(): boolean {
    return this.#parts.view.live().length > 1;
  }

  #company(): 'now' | 'before' | 'never' {
    if (this.hasPeers()) return 'now';
    return this.#hadPeers ? 'before' : 'never';
  }

  /** Pieces of a segment have left the store. */
  lost(blob: KnownBlob, segment: number): void {
    this.#trust.lost(blob, segment);
    for (const realm of this.#parts.shelf.realmsOf(blob.digest)) {
      const held = this.#held({ realm, digest: blob.digest, segment });
      this.#hunter.hunt.lost({ realm, ...blob }, segment, ALL_PIECES & ~held);
    }
  }

  /** The store holds all of the blob, and it has matched its digest. */
  proven(blob: KnownBlob): void {
    if (!this.#trust.proven(blob)) return;
    void this.#teller.planners(blob);
  }

  /** A blob does not match its digest, and is about to be dropped. */
  doubted(blob: KnownBlob): void {
    this.#trust.mismatched(blob);
  }

  status(): SwarmStatus {
    return this.#figures.status();
  }

  /** Leases are given back, and nobody is asked or answered any more. The exchange and the members are closed by who made them. */
  stop(): void {
    this.#stopping.abort();
    this.#clock.stop();
    this.#forgetView();
    clearInterval(this.#flushTimer);
    this.#announcer.stop();
    this.#hunter.stop();
    this.#desk.stop();
    this.#trust.book.flush();
  }

  async #put(
    blob: KnownBlob,
    piece: number,
    bytes: Uint8Array,
    sha256: Uint8Array,
  ): Promise<'stored' | 'declined'> {
    const outcome = await this.#parts.sink.put(blob, piece, bytes, sha256);
    const isFromPeer = this.source.settled(blob, piece, outcome);
    for (const realm of this.#parts.shelf.realmsOf(blob.digest)) {
      const named = { realm, ...blob };
      if (outcome === 'declined') {
        this.#hunter.hunt.delivered(named, piece);
        continue;
      }
      const fact = { ...named, piece, sha256: Buffer.from(sha256) };
      if (!isFromPeer) this.#trust.readFromOrigin(fact);
      this.#hunter.hunt.here(named, piece, isFromPeer ? undefined : this.#markOf(fact));
    }
    return outcome;
  }

  #markOf(fact: PieceFact): Omit<PieceMark, 'slot'> | undefined {
    const voucher = this.#trust.voucherFor(fact);
    return voucher === null ? undefined : { sha256: fact.sha256, voucher };
  }

  /** What can be given to others: here, and vouched for. */
  #held({ realm, digest, segment }: SegmentName): PieceMask {
    const { shelf } = this.#parts;
    const size = shelf.sizeOf(digest);
    if (size === undefined) return NO_PIECES;
    const first = segment * SEGMENT_PIECES;
    const slots = Array.from({ length: SEGMENT_PIECES }, (_, slot) => slot);
    const here = maskOf(slots.filter((slot) => shelf.has(digest, first + slot)));
    return here & this.#trust.book.vouched(realm, { digest, size }, segment);
  }

  #handlersOver(serving: ServeDesk): ExchangeHandlers {
    const { view } = this.#parts;
    return {
      onAsk: (from, ask, answer, signal) => {
        this.#hunter.heardFrom(from);
        return this.#desk.ask(from, ask, answer, signal);
      },
      onReport: (from, reports) => this.#reported(from, reports),
      onInquiry: (from, inquiry) => {
        const knowledge = this.#desk.inquiry(from, inquiry);
        // Whoever plans from now on is to know as well which bytes are right.
        void this.#teller.reader(from, knowledge, ALL_PIECES);
        return knowledge;
      },
      awaitPiece: (from, fetch, signal) => serving.awaitPiece(from, fetch, signal),
      onFetch: async (from, fetch, signal) => {
        const served = await serving.serve(from, fetch, signal);
        if (served.kind !== 'piece') return served;
        const { digest, piece, urgency } = fetch;
        const transfer = this.#transfers.begin({ direction: 'to', peer: from, digest, piece, urgency });
        const release = (): void => {
          transfer.add(served.bytes.length);
          transfer.end();
          served.release();
        };
        return { ...served, release };
      },
      othersWith: (from, { realm, digest, piece }) => {
        const name = { realm, digest, segment: Math.floor(piece / SEGMENT_PIECES) };
        const holders = this.#desk.holders(name, piece % SEGMENT_PIECES);
        return holders.filter((id) => id !== from && id !== view.self.id).slice(0, 3);
      },
    };
  }

  #reported(from: PeerId, reports: readonly Report[]): void {
    this.#hunter.heardFrom(from);
    for (const report of reports) this.#trust.heard(from, report);
    this.#desk.report(from, reports);
  }

  #events(): TrustEvents {
    const { shelf, metrics, log, exchange } = this.#parts;
    return {
      drop: ({ blob, piece }, why) => {
        metrics.trust.dropped(why);
        log.warn({ digest: blob.digest, piece, why }, 'a piece is not believed any more: dropped');
        shelf.drop(blob.digest, piece);
      },
      accuse: ({ realm, blob, piece }, by) => this.#hunter.hunt.accuse({ realm, ...blob }, piece, by),
      disagree: (place, proven, to) => this.#teller.holders(place, proven, to),
      quarantined: (quarantine: Quarantine) => {
        metrics.trust.quarantined(quarantine.why);
        log.warn({ ...quarantine }, 'a member is cut off: what it vouched for was wrong');
        exchange.cutOff(quarantine.peer);
      },
    };
  }

  /** Pieces to send: on their way out, waiting for a slot, or asked for and still arriving here. */
  #load(): number {
    const { active, queued } = this.#parts.exchange.load().uploads;
    return active + queued + this.#arrivals.waiting;
  }

  #membersChanged(): void {
    this.#hadPeers ||= this.hasPeers();
    this.#desk.membersChanged();
    this.#hunter.membersChanged();
    this.#announcer.changed();
  }
}
