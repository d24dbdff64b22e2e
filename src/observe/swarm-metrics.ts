import type { Registry } from 'prom-client';
import { ExchangeMetrics } from './exchange-metrics.ts';
import { MembershipMetrics } from './membership-metrics.ts';
import { PlanningMetrics } from './planning-metrics.ts';
import { Series } from './series.ts';
import { NO_SWARM, registerSwarmGauges, type SwarmGauges } from './swarm-gauges.ts';
import { TrustMetrics } from './trust-metrics.ts';

/**
 * Every series of the swarm; part of `Metrics`, and so registered at start whether peers are on or not. No label names
 * a member: their number has no bound, and `damselfly peers` tells of each.
 */
export class SwarmMetrics {
  readonly exchange: ExchangeMetrics;
  readonly planning: PlanningMetrics;
  readonly trust: TrustMetrics;
  readonly membership: MembershipMetrics;
  #read: () => SwarmGauges | null = () => null;

  constructor(registry: Registry) {
    const series = new Series(registry);
    this.exchange = new ExchangeMetrics(series);
    this.planning = new PlanningMetrics(series);
    this.trust = new TrustMetrics(series);
    this.membership = new MembershipMetrics(series);
    registerSwarmGauges(series, () => this.#read() ?? NO_SWARM);
  }

  /** From here on the gauges show what `read` gives at each scrape: cheap and in memory; null is all zeros. */
  watch(read: () => SwarmGauges | null): void {
    this.#read = read;
  }
}
