import type { Counter, Histogram, Registry } from 'prom-client';
import { Series } from './series.ts';
import {
  ASSIGNED,
  type AssignedKind,
  DIAL_FAILURES,
  DIRECTIONS,
  type DialFailure,
  type Direction,
  DROPS,
  type DropReason,
  FETCH_OUTCOMES,
  type FetchResult,
  HEDGES,
  type HedgeSource,
  LEASE_ENDS,
  type LeaseEnd,
  type MEMBER_STATES,
  MEMBERSHIP_CHANGES,
  MEMBERSHIP_MESSAGES,
  type MembershipChange,
  type MembershipMessage,
  type PeerTransport,
  QUARANTINES,
  type QuarantineReason,
  REFUSALS,
  type RefusalReason,
  SIDES,
  type Side,
  TRANSPORTS,
  type TransferUrgency,
  UNLEASED,
  type UnleasedReason,
  URGENCIES,
  VOUCHER_REFUSALS,
  type VoucherRefusal,
} from './swarm-labels.ts';

/** What the gauges show, as it is now. */
export interface SwarmGauges {
  /** Other members, by state. */
  readonly members: Readonly<Record<(typeof MEMBER_STATES)[number], number>>;
  /** Rows of the table of members, this node's own among them. */
  readonly tableSize: number;
  /** Open ones, in either direction. */
  readonly connections: Readonly<Record<PeerTransport, number>>;
  /** Pieces being sent, and asked for and waiting for a slot. */
  readonly uploads: { readonly active: number; readonly queued: number };
  /** Of this node as a planner: segments that it knows, asks that wait, pieces that it has leased out. */
  readonly planner: { readonly segments: number; readonly waiting: number; readonly leases: number };
  /** Pieces that this node may read from the origin by a lease of its own. */
  readonly heldLeases: number;
}

const IDLE: SwarmGauges = {
  members: { live: 0, suspect: 0, quarantined: 0 },
  tableSize: 0,
  connections: { tls: 0, libp2p: 0 },
  uploads: { active: 0, queued: 0 },
  planner: { segments: 0, waiting: 0, leases: 0 },
  heldLeases: 0,
};

/**
 * Every series of the swarm; part of `Metrics`, and so registered at start whether peers are on or not. No label names
 * a member: their number has no bound, and `damselfly peers` tells of each.
 */
export class SwarmMetrics {
  readonly #series: Series;
  #read: () => SwarmGauges | null = () => null;

  readonly #handshakes: Counter<'transport' | 'side'>;
  readonly #refusals: Counter<'transport' | 'side' | 'reason'>;
  readonly #dials: Counter<'transport'>;
  readonly #dialFailures: Counter<'transport' | 'reason'>;
  readonly #received: Counter<'transport' | 'urgency'>;
  readonly #sent: Counter<'transport' | 'urgency'>;
  readonly #uploadTraffic: Counter;
  readonly #fetches: Counter<'outcome'>;
  readonly #fetchSeconds: Histogram;
  readonly #firstByteSeconds: Histogram;
  readonly #busyAnswers: Counter;
  readonly #asks: Counter<'direction'>;
  readonly #plans: Counter<'direction'>;
  readonly #planSeconds: Histogram;
  readonly #assigned: Counter<'kind'>;
  readonly #leasesGranted: Counter<'kind'>;
  readonly #leasesEnded: Counter<'reason'>;
  readonly #unleased: Counter<'reason'>;
  readonly #hedged: Counter<'source'>;
  readonly #reports: Counter<'direction'>;
  readonly #inquiries: Counter<'direction'>;
  readonly #suspicions: Counter;
  readonly #vouchersRefused: Counter<'reason'>;
  readonly #contested: Counter;
  readonly #dropped: Counter<'reason'>;
  readonly #quarantines: Counter<'reason'>;
  readonly #membershipMessages: Counter<'direction' | 'kind'>;
  readonly #membershipBytes: Counter<'direction'>;
  readonly #membershipChanges: Counter<'change'>;

  constructor(registry: Registry) {
    this.#series = new Series(registry);
    this.#gauges();
    const by = { transport: TRANSPORTS, side: SIDES, urgency: URGENCIES, direction: DIRECTIONS } as const;

    this.#handshakes = this.#series.counter(
      'damselfly_peer_handshakes_total',
      'Connections to and from members on which both sides have proven who they are.',
      { transport: by.transport, side: by.side },
    );
    this.#refusals = this.#series.counter(
      'damselfly_peer_refusals_total',
      'Connections that were refused before anything of them was used, by reason.',
      { transport: by.transport, side: by.side, reason: REFUSALS },
    );
    this.#dials = this.#series.counter('damselfly_peer_dials_total', 'Connections to members begun.', {
      transport: by.transport,
    });
    this.#dialFailures = this.#series.counter(
      'damselfly_peer_dial_failures_total',
      'Connections to members that did not come about, by reason.',
      { transport: by.transport, reason: DIAL_FAILURES },
    );
    this.#received = this.#series.counter(
      'damselfly_peer_received_bytes_total',
      'Piece bytes received from members, used or not.',
      { transport: by.transport, urgency: by.urgency },
    );
    this.#sent = this.#series.counter('damselfly_peer_sent_bytes_total', 'Piece bytes sent to members.', {
      transport: by.transport,
      urgency: by.urgency,
    });
    this.#uploadTraffic = this.#series.counter(
      'dragonfly_client_upload_traffic',
      "Piece bytes sent to members (Dragonfly's name).",
      {},
    );
    this.#fetches = this.#series.counter(
      'damselfly_peer_fetches_total',
      'Pieces asked of a member, by how that ended; piece: it came and matched its digest.',
      { outcome: FETCH_OUTCOMES },
    );
    this.#fetchSeconds = this.#series.histogram(
      'damselfly_peer_fetch_seconds',
      'Time from asking a member for a piece to its last byte, of those that came.',
    );
    this.#firstByteSeconds = this.#series.histogram(
      'damselfly_peer_first_byte_seconds',
      'Time from asking a member for a piece to its first byte.',
    );
    this.#busyAnswers = this.#series.counter(
      'damselfly_peer_busy_answers_total',
      'Pieces that this node refused to send since its upload queue was full; the answer names other holders.',
      {},
    );

    this.#asks = this.#series.counter(
      'damselfly_planner_asks_total',
      'Questions of readers to planners: sent by this node, and received as a planner.',
      { direction: by.direction },
    );
    this.#plans = this.#series.counter(
      'damselfly_planner_plans_total',
      'Answers to those questions; one question may have several.',
      { direction: by.direction },
    );
    this.#planSeconds = this.#series.histogram(
      'damselfly_planner_answer_seconds',
      'Time from asking a planner to its first answer, this node being its own planner included.',
    );
    this.#assigned = this.#series.counter(
      'damselfly_planner_assigned_pieces_total',
      'Pieces that this node as a planner assigned: to be fetched from a holder, or read from the origin by a lease.',
      { kind: ASSIGNED },
    );
    this.#leasesGranted = this.#series.counter(
      'damselfly_leases_granted_total',
      'Leases granted by this node as a planner, counted in pieces; a hedge is a second reader of a slow piece.',
      { kind: ['first', 'hedge'] },
    );
    this.#leasesEnded = this.#series.counter(
      'damselfly_leases_ended_total',
      'Leases that ended, at their planner, counted in pieces, by reason; also of those that another planner granted.',
      { reason: LEASE_ENDS },
    );
    this.#unleased = this.#series.counter(
      'damselfly_unleased_origin_reads_total',
      'Pieces read from the origin without a lease although there are other members, by reason.',
      { reason: UNLEASED },
    );
    this.#hedged = this.#series.counter(
      'damselfly_hedged_bytes_total',
      'Bytes of pieces that were read a second time since the first reading was slow, by where the second came from.',
      { source: HEDGES },
    );
    this.#reports = this.#series.counter(
      'damselfly_planner_reports_total',
      'Reports of what was completed, lost or read: to planners, and from readers.',
      { direction: by.direction },
    );
    this.#inquiries = this.#series.counter(
      'damselfly_planner_inquiries_total',
      'Questions between planners on what the other knows of a segment.',
      { direction: by.direction },
    );
    this.#suspicions = this.#series.counter(
      'damselfly_peer_suspicions_total',
      'Times that this node asked others first, since a member did not answer in time.',
      {},
    );

    this.#vouchersRefused = this.#series.counter(
      'damselfly_vouchers_refused_total',
      "Members' signed words on a piece that were not believed, by reason.",
      { reason: VOUCHER_REFUSALS },
    );
    this.#contested = this.#series.counter(
      'damselfly_contested_pieces_total',
      'Pieces on which members disagreed, so that the origin was read.',
      {},
    );
    this.#dropped = this.#series.counter(
      'damselfly_peer_dropped_pieces_total',
      'Pieces from members that were here and had to go, by reason.',
      { reason: DROPS },
    );
    this.#quarantines = this.#series.counter(
      'damselfly_peer_quarantines_total',
      'Times that a member was cut off, since its bytes or its word on them were wrong.',
      { reason: QUARANTINES },
    );

    this.#membershipMessages = this.#series.counter(
      'damselfly_membership_messages_total',
      'Messages on who is a member.',
      {
        direction: by.direction,
        kind: MEMBERSHIP_MESSAGES,
      },
    );
    this.#membershipBytes = this.#series.counter(
      'damselfly_membership_bytes_total',
      'Bytes of messages on who is a member.',
      { direction: by.direction },
    );
    this.#membershipChanges = this.#series.counter(
      'damselfly_membership_changes_total',
      'Members that joined (again, with a new epoch) and left, as this node sees it.',
      { change: MEMBERSHIP_CHANGES },
    );
  }

  /** From here on the gauges show what `read` gives at each scrape: cheap and in memory; null is all zeros. */
  watch(read: () => SwarmGauges | null): void {
    this.#read = read;
  }

  handshakeDone(transport: PeerTransport, side: Side): void {
    this.#handshakes.inc({ transport, side });
  }

  refused(transport: PeerTransport, side: Side, reason: RefusalReason): void {
    this.#refusals.inc({ transport, side, reason });
  }

  dialed(transport: PeerTransport): void {
    this.#dials.inc({ transport });
  }

  dialFailed(transport: PeerTransport, reason: DialFailure): void {
    this.#dialFailures.inc({ transport, reason });
  }

  pieceReceived(transport: PeerTransport, urgency: TransferUrgency, bytes: number): void {
    this.#received.inc({ transport, urgency }, bytes);
  }

  pieceSent(transport: PeerTransport, urgency: TransferUrgency, bytes: number): void {
    this.#sent.inc({ transport, urgency }, bytes);
    this.#uploadTraffic.inc(bytes);
  }

  /** Once for each fetch. @param seconds from the question to the end; only pieces that came are in the histogram. */
  fetchEnded(outcome: FetchResult, seconds: number): void {
    this.#fetches.inc({ outcome });
    if (outcome === 'piece') this.#fetchSeconds.observe(seconds);
  }

  firstByte(seconds: number): void {
    this.#firstByteSeconds.observe(seconds);
  }

  busyAnswered(): void {
    this.#busyAnswers.inc();
  }

  asked(direction: Direction): void {
    this.#asks.inc({ direction });
  }

  planned(direction: Direction): void {
    this.#plans.inc({ direction });
  }

  /** By a reader, for the first answer to its ask. */
  planAnswered(seconds: number): void {
    this.#planSeconds.observe(seconds);
  }

  /** By a planner; a lease or hedge counts as granted as well. */
  assigned(kind: AssignedKind, pieces: number): void {
    this.#assigned.inc({ kind }, pieces);
    if (kind !== 'fetch') this.#leasesGranted.inc({ kind: kind === 'hedge' ? 'hedge' : 'first' }, pieces);
  }

  leasesEnded(reason: LeaseEnd, pieces: number): void {
    this.#leasesEnded.inc({ reason }, pieces);
  }

  readUnleased(reason: UnleasedReason, pieces: number): void {
    this.#unleased.inc({ reason }, pieces);
  }

  hedged(source: HedgeSource, bytes: number): void {
    this.#hedged.inc({ source }, bytes);
  }

  reported(direction: Direction, reports: number): void {
    this.#reports.inc({ direction }, reports);
  }

  inquired(direction: Direction): void {
    this.#inquiries.inc({ direction });
  }

  suspected(): void {
    this.#suspicions.inc();
  }

  voucherRefused(reason: VoucherRefusal): void {
    this.#vouchersRefused.inc({ reason });
  }

  contested(pieces: number): void {
    this.#contested.inc(pieces);
  }

  dropped(reason: DropReason): void {
    this.#dropped.inc({ reason });
  }

  quarantined(reason: QuarantineReason): void {
    this.#quarantines.inc({ reason });
  }

  membershipMessage(direction: Direction, kind: MembershipMessage, bytes: number): void {
    this.#membershipMessages.inc({ direction, kind });
    this.#membershipBytes.inc({ direction }, bytes);
  }

  membershipChanged(change: MembershipChange): void {
    this.#membershipChanges.inc({ change });
  }

  #gauges(): void {
    const now = (): SwarmGauges => this.#read() ?? IDLE;
    const series = this.#series;
    series.levels(
      'damselfly_members',
      'Other members that this node knows, by state.',
      'state',
      () => now().members,
    );
    series.level(
      'damselfly_membership_table_size',
      'Rows of the table of members, with this node.',
      () => now().tableSize,
    );
    series.levels(
      'damselfly_peer_connections',
      'Open connections with members, by transport.',
      'transport',
      () => now().connections,
    );
    series.level(
      'damselfly_peer_uploads_active',
      'Upload slots in use: pieces being sent to members.',
      () => now().uploads.active,
    );
    series.level(
      'damselfly_peer_uploads_queued',
      'Pieces that members have asked for and that wait for an upload slot.',
      () => now().uploads.queued,
    );
    series.level(
      'dragonfly_client_concurrent_upload_piece_total',
      "Pieces being sent to members (Dragonfly's name).",
      () => now().uploads.active,
    );
    series.level(
      'damselfly_planner_segments',
      'Segments that this node plans or stands by for.',
      () => now().planner.segments,
    );
    series.level(
      'damselfly_planner_waiting_asks',
      'Questions of readers that wait for an assignment.',
      () => now().planner.waiting,
    );
    series.levels(
      'damselfly_leases_running',
      'Leases now, counted in pieces: granted by this node as a planner, and held by it as a reader.',
      'role',
      () => ({ planner: now().planner.leases, reader: now().heldLeases }),
    );
  }
}
