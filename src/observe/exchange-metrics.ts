import type { Counter, Histogram } from 'prom-client';
import type { Series } from './series.ts';
import {
  DIAL_FAILURES,
  type DialFailure,
  FETCH_OUTCOMES,
  type FetchResult,
  type PeerTransport,
  REFUSALS,
  type RefusalReason,
  SIDES,
  type Side,
  TRANSPORTS,
  type TransferUrgency,
  URGENCIES,
} from './swarm-labels.ts';

/** Connections between members, and the pieces that went over them. */
export class ExchangeMetrics {
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

  constructor(series: Series) {
    this.#handshakes = series.counter(
      'damselfly_peer_handshakes_total',
      'Connections to and from members on which both sides have proven who they are.',
      { transport: TRANSPORTS, side: SIDES },
    );
    this.#refusals = series.counter(
      'damselfly_peer_refusals_total',
      'Connections that were refused before anything of them was used, by reason.',
      { transport: TRANSPORTS, side: SIDES, reason: REFUSALS },
    );
    this.#dials = series.counter('damselfly_peer_dials_total', 'Connections to members begun.', {
      transport: TRANSPORTS,
    });
    this.#dialFailures = series.counter(
      'damselfly_peer_dial_failures_total',
      'Connections to members that did not come about, by reason.',
      { transport: TRANSPORTS, reason: DIAL_FAILURES },
    );
    this.#received = series.counter(
      'damselfly_peer_received_bytes_total',
      'Piece bytes received from members, used or not.',
      { transport: TRANSPORTS, urgency: URGENCIES },
    );
    this.#sent = series.counter('damselfly_peer_sent_bytes_total', 'Piece bytes sent to members.', {
      transport: TRANSPORTS,
      urgency: URGENCIES,
    });
    this.#uploadTraffic = series.counter(
      'dragonfly_client_upload_traffic',
      "Piece bytes sent to members (Dragonfly's name).",
    );
    this.#fetches = series.counter(
      'damselfly_peer_fetches_total',
      'Pieces asked of a member, by how that ended; piece: it came and matched its digest.',
      { outcome: FETCH_OUTCOMES },
    );
    this.#fetchSeconds = series.histogram(
      'damselfly_peer_fetch_seconds',
      'Time from asking a member for a piece to its last byte, of those that came.',
    );
    this.#firstByteSeconds = series.histogram(
      'damselfly_peer_first_byte_seconds',
      'Time from asking a member for a piece to its first byte.',
    );
    this.#busyAnswers = series.counter(
      'damselfly_peer_busy_answers_total',
      'Pieces that this node refused to send since its upload queue was full; the answer names other holders.',
    );
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
}
