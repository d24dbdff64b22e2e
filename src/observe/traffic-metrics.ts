import type { Counter } from 'prom-client';
import type { SourceName } from '../blob/source.ts';
import type { Series } from './series.ts';
import { byLabel, sumOf } from './sums.ts';

/** Dragonfly's words for where bytes came from, so that its public client dashboard shows our numbers. */
const TRAFFIC_TYPE: Readonly<Record<SourceName, 'BACK_TO_SOURCE' | 'REMOTE_PEER' | 'LOCAL_PEER'>> = {
  memory: 'LOCAL_PEER',
  disk: 'LOCAL_PEER',
  peer: 'REMOTE_PEER',
  dragonfly: 'REMOTE_PEER',
  origin: 'BACK_TO_SOURCE',
};

const SOURCES = Object.keys(TRAFFIC_TYPE) as SourceName[];
/** Those that are outside of this node. */
const FAR_SOURCES = ['peer', 'dragonfly', 'origin'] as const;
export type FarSource = (typeof FAR_SOURCES)[number];

export interface TrafficTotals {
  readonly servedBytes: Readonly<Record<SourceName, number>>;
  readonly receivedBytes: Readonly<Record<FarSource, number>>;
  readonly originBytes: number;
}

/** Where bytes came from: those that clients were sent, and those that this node received. */
export class TrafficMetrics {
  readonly #served: Counter<'source'>;
  readonly #received: Counter<'source'>;
  readonly #originBytes: Counter;
  readonly #traffic: Counter<'type'>;

  constructor(series: Series) {
    this.#served = series.counter('damselfly_served_bytes_total', 'Body bytes sent to clients, by source.', {
      source: SOURCES,
    });
    this.#received = series.counter(
      'damselfly_received_bytes_total',
      'Bytes received from outside this node, by source, whether a client or a prefetch wanted them.',
      { source: FAR_SOURCES },
    );
    this.#originBytes = series.counter(
      'damselfly_origin_bytes_total',
      'Body bytes of blobs and manifests received from origins, used or not.',
    );
    this.#traffic = series.counter(
      'dragonfly_client_download_traffic',
      "Bytes by where they were read from, in Dragonfly's terms.",
      { type: [...new Set(Object.values(TRAFFIC_TYPE))] },
    );
  }

  /** Body bytes on their way to a client. */
  served(source: SourceName, bytes: number): void {
    this.#served.inc({ source }, bytes);
    if (TRAFFIC_TYPE[source] === 'LOCAL_PEER') this.#traffic.inc({ type: 'LOCAL_PEER' }, bytes);
  }

  /** Bytes that this node received from outside itself, whether a client or a prefetch wanted them. */
  received(source: FarSource, bytes: number): void {
    this.#traffic.inc({ type: TRAFFIC_TYPE[source] }, bytes);
    this.#received.inc({ source }, bytes);
    if (source === 'origin') this.#originBytes.inc(bytes);
  }

  async originBytes(): Promise<number> {
    return await sumOf(this.#originBytes);
  }

  async totals(): Promise<TrafficTotals> {
    return {
      servedBytes: await byLabel(this.#served, 'source', SOURCES),
      receivedBytes: await byLabel(this.#received, 'source', FAR_SOURCES),
      originBytes: await this.originBytes(),
    };
  }
}
