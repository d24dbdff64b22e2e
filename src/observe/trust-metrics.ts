import type { Counter } from 'prom-client';
import type { Series } from './series.ts';
import {
  DROPS,
  type DropReason,
  QUARANTINES,
  type QuarantineReason,
  VOUCHER_REFUSALS,
  type VoucherRefusal,
} from './swarm-labels.ts';

/** What members said of pieces and was not believed, and what followed. */
export class TrustMetrics {
  readonly #vouchersRefused: Counter<'reason'>;
  readonly #contested: Counter;
  readonly #dropped: Counter<'reason'>;
  readonly #quarantines: Counter<'reason'>;

  constructor(series: Series) {
    this.#vouchersRefused = series.counter(
      'damselfly_vouchers_refused_total',
      "Members' signed words on a piece that were not believed, by reason.",
      { reason: VOUCHER_REFUSALS },
    );
    this.#contested = series.counter(
      'damselfly_contested_pieces_total',
      'Pieces on which members disagreed, so that the origin was read.',
    );
    this.#dropped = series.counter(
      'damselfly_peer_dropped_pieces_total',
      'Pieces from members that were here and had to go, by reason.',
      { reason: DROPS },
    );
    this.#quarantines = series.counter(
      'damselfly_peer_quarantines_total',
      'Times that a member was cut off, since its bytes or its word on them were wrong.',
      { reason: QUARANTINES },
    );
  }

  voucherRefused(reason: VoucherRefusal): void {
    this.#vouchersRefused.inc({ reason });
    if (reason === 'contested') this.#contested.inc();
  }

  dropped(reason: DropReason): void {
    this.#dropped.inc({ reason });
  }

  quarantined(reason: QuarantineReason): void {
    this.#quarantines.inc({ reason });
  }
}
