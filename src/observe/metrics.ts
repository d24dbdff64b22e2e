import { type Counter, Registry } from 'prom-client';
import { CLIENT_KINDS, type ClientKind } from './client-kind.ts';
import { Series } from './series.ts';
import { byLabel, sumOf } from './sums.ts';
import { SwarmMetrics } from './swarm-metrics.ts';
import { TrafficMetrics, type TrafficTotals } from './traffic-metrics.ts';

const REQUEST_RESULTS = ['ok', 'refused', 'failed', 'aborted'] as const;
export type RequestResult = (typeof REQUEST_RESULTS)[number];

/** Of a request to an origin. */
const BACKEND = { scheme: ['http', 'https'], method: ['GET', 'HEAD'] } as const;

/**
 * Every series of the node. All are registered, with their label values, when the node starts, so that a dashboard
 * shows zeros and not holes. Names `dragonfly_client_…` have Dragonfly's meaning; the rest is `damselfly_…`.
 */
export class Metrics {
  readonly registry = new Registry();
  readonly #series = new Series(this.registry);
  readonly swarm = new SwarmMetrics(this.registry);
  readonly traffic = new TrafficMetrics(this.#series);

  readonly #proxyRequests: Counter = this.#series.counter(
    'dragonfly_client_proxy_request_total',
    'Requests on the proxy port.',
  );
  readonly #proxyFailures: Counter = this.#series.counter(
    'dragonfly_client_proxy_request_failure_total',
    'Requests on the proxy port that ended in a 5xx or a reset of our own.',
  );
  readonly #proxyVia: Counter = this.#series.counter(
    'dragonfly_client_proxy_request_via_dfdaemon_total',
    "Requests on the proxy port that were served as blobs (Dragonfly's name).",
  );
  readonly backendRequests = this.#series.counter(
    'dragonfly_client_backend_request_total',
    'Requests to origins.',
    BACKEND,
  );
  readonly backendFailures = this.#series.counter(
    'dragonfly_client_backend_request_failure_total',
    'Requests to origins that failed (no answer, or 5xx).',
    BACKEND,
  );
  readonly backendDuration = this.#series.histogram(
    'dragonfly_client_backend_request_duration_milliseconds',
    "Time to the head of an origin's answer.",
    { labels: BACKEND, buckets: Array.from({ length: 24 }, (_, i) => 2 ** i) },
  );
  readonly diskSpace = this.#series.gauge(
    'dragonfly_client_disk_space_total',
    'Bytes that the cache may use.',
  );
  readonly diskUsage = this.#series.gauge(
    'dragonfly_client_disk_usage_space_total',
    'Allocated bytes of everything under cache.dir.',
  );
  readonly prefetchTasks = this.#series.counter(
    'dragonfly_client_prefetch_task_total',
    'Background fills begun (read-ahead, X-Dragonfly-Prefetch, prefetch command).',
  );
  readonly prefetchFailures = this.#series.counter(
    'dragonfly_client_prefetch_task_failure_total',
    'Background fills that failed.',
  );

  readonly requests = this.#series.counter(
    'damselfly_requests_total',
    'Requests on the proxy port by client kind and result.',
    { client: CLIENT_KINDS, result: REQUEST_RESULTS },
  );
  readonly requested = this.#series.counter(
    'damselfly_requested_bytes_total',
    'Blob bytes that clients asked for and got, by client kind.',
    { client: CLIENT_KINDS },
  );
  readonly headSeconds = this.#series.histogram(
    'damselfly_time_to_head_seconds',
    'Time from a blob request to its response head.',
    {
      labels: { client: CLIENT_KINDS },
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25],
    },
  );
  readonly rangeBytes = this.#series.histogram(
    'damselfly_range_bytes',
    'Lengths of the ranges that were served.',
    { buckets: Array.from({ length: 11 }, (_, i) => 4096 * 4 ** i) },
  );
  readonly passedThrough = this.#series.counter(
    'damselfly_passed_through_total',
    'Requests that were relayed to the origin untouched.',
  );
  readonly tunnels = this.#series.counter(
    'damselfly_tunnels_total',
    'CONNECT tunnels that were opened: blind ones, and those intercepted with the CA of proxy.intercept.',
    { kind: ['blind', 'intercepted'] },
  );
  readonly tunnelsOpen = this.#series.gauge('damselfly_tunnels_open', 'Blind tunnels that are open.');
  readonly tunnelBytes = this.#series.counter(
    'damselfly_tunnel_bytes_total',
    'Bytes through blind tunnels: up to the origin, down to the client.',
    { direction: ['up', 'down'] },
  );
  readonly interceptFailures = this.#series.counter(
    'damselfly_intercept_handshake_failures_total',
    'Intercepted tunnels whose TLS handshake failed: most often a client that does not trust the CA.',
  );
  readonly rightsChecks = this.#series.counter(
    'damselfly_rights_checks_total',
    'Rights on blobs: known here, or asked of the origin, by outcome; grace: granted while the origin is down.',
    { outcome: ['known', 'granted', 'refused', 'unreachable', 'grace'] },
  );

  readonly pieces = this.#series.counter(
    'damselfly_pieces_total',
    'Pieces looked for, by where they were found; a joined piece was already arriving for another reader.',
    { found: ['memory', 'disk', 'joined', 'missing'] },
  );
  readonly storeDeclined = this.#series.counter(
    'damselfly_store_declined_total',
    'Pieces that could not be kept, by reason.',
    { reason: ['no-room', 'disk-full', 'disk-error', 'disk-slow', 'read-only', 'busy', 'stopped'] },
  );
  readonly storeDegraded = this.#series.gauge(
    'damselfly_store_degraded',
    '1 while the disk is full, read-only, slow or failing and pieces pass through unkept.',
  );
  readonly storeCorrupt = this.#series.counter(
    'damselfly_store_corrupt_pieces_total',
    'Cached pieces that no longer matched and were dropped before their bytes were served.',
  );
  readonly evictedSegments = this.#series.counter(
    'damselfly_evicted_segments_total',
    'Segments removed to make room.',
  );
  readonly evictedBytes = this.#series.counter(
    'damselfly_evicted_bytes_total',
    'Allocated bytes of segments removed to make room.',
  );
  readonly memoryBytes = this.#series.gauge('damselfly_memory_cache_bytes', 'Bytes in the memory tier.');
  readonly mismatchedBlobs = this.#series.counter(
    'damselfly_digest_mismatch_total',
    'Blobs whose whole bytes did not match their digest.',
  );

  readonly originOpen = this.#series.gauge('damselfly_origin_requests_open', 'Origin requests under way.');
  readonly originQueued = this.#series.gauge(
    'damselfly_origin_requests_queued',
    'Origin requests waiting for a slot.',
  );
  readonly originRetries = this.#series.counter(
    'damselfly_origin_retries_total',
    'Origin requests sent again, by reason.',
    { reason: ['connect', 'status', 'body'] },
  );
  readonly breakerState = this.#series.gauge(
    'damselfly_origin_breaker_open',
    'Per origin: 1 while its circuit breaker is open.',
    ['origin'],
  );
  readonly targetsForbidden = this.#series.counter(
    'damselfly_targets_forbidden_total',
    'Requests refused by the SSRF rule.',
  );
  readonly eventLoopLag = this.#series.histogram(
    'damselfly_event_loop_lag_seconds',
    'How late a timer fired.',
    { buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5] },
  );
  readonly healthy = this.#series.gauge('damselfly_healthy', '1 while /healthy answers 200.');
  readonly info = this.#series.gauge('damselfly_info', 'Always 1; the labels name the version.', [
    'version',
    'node',
  ]);

  constructor() {
    this.#series.level(
      'damselfly_read_amplification_ratio',
      'Origin bytes divided by requested bytes since start: below 1 means saved egress.',
      async () => {
        const requested = await sumOf(this.requested);
        return requested === 0 ? 0 : (await this.traffic.originBytes()) / requested;
      },
    );
  }

  countRequest(client: ClientKind, result: RequestResult, asBlob: boolean): void {
    this.requests.inc({ client, result });
    this.#proxyRequests.inc();
    if (result === 'failed') this.#proxyFailures.inc();
    if (asBlob) this.#proxyVia.inc();
  }

  /** The sums that the status document shows, since start. */
  async totals(): Promise<MetricTotals> {
    const requests = await byLabel(this.requests, 'result', REQUEST_RESULTS);
    return {
      ...(await this.traffic.totals()),
      requestedBytes: await sumOf(this.requested),
      requests: { ...requests, total: await sumOf(this.requests) },
      originRequests: { open: await sumOf(this.originOpen), queued: await sumOf(this.originQueued) },
    };
  }
}

export interface MetricTotals extends TrafficTotals {
  readonly requestedBytes: number;
  readonly requests: Readonly<Record<RequestResult | 'total', number>>;
  /** Origin requests under way, and waiting for a slot. */
  readonly originRequests: { readonly open: number; readonly queued: number };
}
