import type { Counter, Histogram } from 'prom-client';
import type { Series } from './series.ts';
import {
  ASSIGNED,
  type AssignedKind,
  DIRECTIONS,
  type Direction,
  HEDGES,
  type HedgeSource,
  LEASE_ENDS,
  type LeaseEnd,
  UNLEASED,
  type UnleasedReason,
} from './swarm-labels.ts';

/** Questions between readers and planners, the leases that came of them, and what was read besides them. */
export class PlanningMetrics {
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

  constructor(series: Series) {
    const direction = DIRECTIONS;
    this.#asks = series.counter(
      'damselfly_planner_asks_total',
      'Questions of readers to planners: sent by this node, and received as a planner.',
      { direction },
    );
    this.#plans = series.counter(
      'damselfly_planner_plans_total',
      'Answers to those questions; one question may have several.',
      { direction },
    );
    this.#planSeconds = series.histogram(
      'damselfly_planner_answer_seconds',
      'Time from asking a planner to its first answer, this node being its own planner included.',
    );
    this.#assigned = series.counter(
      'damselfly_planner_assigned_pieces_total',
      'Pieces that this node as a planner assigned: to be fetched from a holder, or read from the origin by a lease.',
      { kind: ASSIGNED },
    );
    this.#leasesGranted = series.counter(
      'damselfly_leases_granted_total',
      'Leases granted by this node as a planner, counted in pieces; a hedge is a second reader of a slow piece.',
      { kind: ['first', 'hedge'] },
    );
    this.#leasesEnded = series.counter(
      'damselfly_leases_ended_total',
      'Leases that ended, at their planner, counted in pieces, by reason; also of those that another planner granted.',
      { reason: LEASE_ENDS },
    );
    this.#unleased = series.counter(
      'damselfly_unleased_origin_reads_total',
      'Pieces read from the origin without the word of another member although there are some, or were, by reason.',
      { reason: UNLEASED },
    );
    this.#hedged = series.counter(
      'damselfly_hedged_bytes_total',
      'Bytes that were read of pieces a second time since the first reading was slow, by where the second came from.',
      { source: HEDGES },
    );
    this.#reports = series.counter(
      'damselfly_planner_reports_total',
      'Reports of what was completed, lost or read: to planners, and from readers.',
      { direction },
    );
    this.#inquiries = series.counter(
      'damselfly_planner_inquiries_total',
      'Questions between planners on what the other knows of a segment.',
      { direction },
    );
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
}
