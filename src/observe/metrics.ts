import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { SourceName } from '../blob/source.ts';
import { SwarmMetrics } from './swarm-metrics.ts';

/** Dragonfly's words for where bytes came from, so that its public client dashboard shows our numbers. */
const TRAFFIC_TYPE: Readonly<Record<SourceName, 'BACK_TO_SOURCE' | 'REMOTE_PEER' | 'LOCAL_PEER'>> = {
  memory: 'LOCAL_PEER',
  disk: 'LOCAL_PEER',
  peer: 'REMOTE_PEER',
  dragonfly: 'REMOTE_PEER',
  origin: 'BACK_TO_SOURCE',
};

const SOURCES = Object.keys(TRAFFIC_TYPE) as SourceName[];

/** Kinds of client, by User-Agent; `none` sends no User-Agent (nydusd before 2.4.3). */
const CLIENT_KINDS = [
  'nydusd',
  'containerd',
  'docker',
  'buildkit',
  'containers',
  'stargz',
  'soci',
  'overlaybd',
  'crane',
  'oras',
  'damselfly',
  'dragonfly',
  'none',
  'other',
] as const;
export type ClientKind = (typeof CLIENT_KINDS)[number];

const REQUEST_RESULTS = ['ok', 'refused', 'failed', 'aborted'] as const;
export type RequestResult = (typeof REQUEST_RESULTS)[number];

/**
 * Every series of the node. All are registered, with their label values, when the node starts, so that a dashboard
 * shows zeros and not holes. Names `dragonfly_client_…` have Dragonfly's meaning; the rest is `damselfly_…`.
 */
export class Metrics {
  readonly registry = new Registry();
  readonly #registers = [this.registry];
  readonly swarm = new SwarmMetrics(this.registry);

  readonly #traffic = new Counter({
    name: 'dragonfly_client_download_traffic',
    help: "Bytes by where they were read from, in Dragonfly's terms.",
    labelNames: ['type'],
    registers: this.#registers,
  });
  readonly #proxyRequests = new Counter({
    name: 'dragonfly_client_proxy_request_total',
    help: 'Requests on the proxy port.',
    registers: this.#registers,
  });
  readonly #proxyFailures = new Counter({
    name: 'dragonfly_client_proxy_request_failure_total',
    help: 'Requests on the proxy port that ended in a 5xx or a reset of our own.',
    registers: this.#registers,
  });
  readonly #proxyVia = new Counter({
    name: 'dragonfly_client_proxy_request_via_dfdaemon_total',
    help: "Requests on the proxy port that were served as blobs (Dragonfly's name).",
    registers: this.#registers,
  });
  readonly backendRequests = new Counter({
    name: 'dragonfly_client_backend_request_total',
    help: 'Requests to origins.',
    labelNames: ['scheme', 'method'],
    registers: this.#registers,
  });
  readonly backendFailures = new Counter({
    name: 'dragonfly_client_backend_request_failure_total',
    help: 'Requests to origins that failed (no answer, or 5xx).',
    labelNames: ['scheme', 'method'],
    registers: this.#registers,
  });
  readonly backendDuration = new Histogram({
    name: 'dragonfly_client_backend_request_duration_milliseconds',
    help: "Time to the head of an origin's answer.",
    labelNames: ['scheme', 'method'],
    buckets: Array.from({ length: 24 }, (_, i) => 2 ** i),
    registers: this.#registers,
  });
  readonly diskSpace = new Gauge({
    name: 'dragonfly_client_disk_space_total',
    help: 'Bytes that the cache may use.',
    registers: this.#registers,
  });
  readonly diskUsage = new Gauge({
    name: 'dragonfly_client_disk_usage_space_total',
    help: 'Allocated bytes of everything under cache.dir.',
    registers: this.#registers,
  });
  readonly prefetchTasks = new Counter({
    name: 'dragonfly_client_prefetch_task_total',
    help: 'Background fills begun (read-ahead, X-Dragonfly-Prefetch, prefetch command).',
    registers: this.#registers,
  });
  readonly prefetchFailures = new Counter({
    name: 'dragonfly_client_prefetch_task_failure_total',
    help: 'Background fills that failed.',
    registers: this.#registers,
  });

  readonly requests = new Counter({
    name: 'damselfly_requests_total',
    help: 'Requests on the proxy port by client kind and result.',
    labelNames: ['client', 'result'],
    registers: this.#registers,
  });
  readonly #served = new Counter({
    name: 'damselfly_served_bytes_total',
    help: 'Body bytes sent to clients, by source.',
    labelNames: ['source'],
    registers: this.#registers,
  });
  readonly #received = new Counter({
    name: 'damselfly_received_bytes_total',
    help: 'Bytes received from outside this node, by source, whether a client or a prefetch wanted them.',
    labelNames: ['source'],
    registers: this.#registers,
  });
  readonly requested = new Counter({
    name: 'damselfly_requested_bytes_total',
    help: 'Blob bytes that clients asked for and got, by client kind.',
    labelNames: ['client'],
    registers: this.#registers,
  });
  readonly originBytes = new Counter({
    name: 'damselfly_origin_bytes_total',
    help: 'Body bytes of blobs and manifests received from origins, used or not.',
    registers: this.#registers,
  });
  readonly amplification = new Gauge({
    name: 'damselfly_read_amplification_ratio',
    help: 'Origin bytes divided by requested bytes since start: below 1 means saved egress.',
    registers: this.#registers,
    collect: async () => {
      const requested = await sumOf(this.requested);
      this.amplification.set(requested === 0 ? 0 : (await sumOf(this.originBytes)) / requested);
    },
  });
  readonly headSeconds = new Histogram({
    name: 'damselfly_time_to_head_seconds',
    help: 'Time from a blob request to its response head.',
    labelNames: ['client'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25],
    registers: this.#registers,
  });
  readonly rangeBytes = new Histogram({
    name: 'damselfly_range_bytes',
    help: 'Lengths of the ranges that were served.',
    buckets: Array.from({ length: 11 }, (_, i) => 4096 * 4 ** i),
    registers: this.#registers,
  });
  readonly passedThrough = new Counter({
    name: 'damselfly_passed_through_total',
    help: 'Requests that were relayed to the origin untouched.',
    registers: this.#registers,
  });
  readonly tunnels = new Counter({
    name: 'damselfly_tunnels_total',
    help: 'CONNECT tunnels that were opened: blind ones, and those intercepted with the CA of proxy.intercept.',
    labelNames: ['kind'],
    registers: this.#registers,
  });
  readonly tunnelsOpen = new Gauge({
    name: 'damselfly_tunnels_open',
    help: 'Blind tunnels that are open.',
    registers: this.#registers,
  });
  readonly tunnelBytes = new Counter({
    name: 'damselfly_tunnel_bytes_total',
    help: 'Bytes through blind tunnels: up to the origin, down to the client.',
    labelNames: ['direction'],
    registers: this.#registers,
  });
  readonly interceptFailures = new Counter({
    name: 'damselfly_intercept_handshake_failures_total',
    help: 'Intercepted tunnels whose TLS handshake failed: most often a client that does not trust the CA.',
    registers: this.#registers,
  });
  readonly rightsChecks = new Counter({
    name: 'damselfly_rights_checks_total',
    help: 'Rights on blobs: known here, or asked of the origin, by outcome; grace: granted while the origin is down.',
    labelNames: ['outcome'],
    registers: this.#registers,
  });

  readonly pieces = new Counter({
    name: 'damselfly_pieces_total',
    help: 'Pieces looked for, by where they were found; a joined piece was already arriving for another reader.',
    labelNames: ['found'],
    registers: this.#registers,
  });
  readonly storeDeclined = new Counter({
    name: 'damselfly_store_declined_total',
    help: 'Pieces that could not be kept, by reason.',
    labelNames: ['reason'],
    registers: this.#registers,
  });
  readonly storeDegraded = new Gauge({
    name: 'damselfly_store_degraded',
    help: '1 while the disk is full, read-only, slow or failing and pieces pass through unkept.',
    registers: this.#registers,
  });
  readonly storeCorrupt = new Counter({
    name: 'damselfly_store_corrupt_pieces_total',
    help: 'Cached pieces that no longer matched and were dropped before their bytes were served.',
    registers: this.#registers,
  });
  readonly evictedSegments = new Counter({
    name: 'damselfly_evicted_segments_total',
    help: 'Segments removed to make room.',
    registers: this.#registers,
  });
  readonly evictedBytes = new Counter({
    name: 'damselfly_evicted_bytes_total',
    help: 'Allocated bytes of segments removed to make room.',
    registers: this.#registers,
  });
  readonly memoryBytes = new Gauge({
    name: 'damselfly_memory_cache_bytes',
    help: 'Bytes in the memory tier.',
    registers: this.#registers,
  });
  readonly mismatchedBlobs = new Counter({
    name: 'damselfly_digest_mismatch_total',
    help: 'Blobs whose whole bytes did not match their digest.',
    registers: this.#registers,
  });

  readonly originOpen = new Gauge({
    name: 'damselfly_origin_requests_open',
    help: 'Origin requests under way.',
    registers: this.#registers,
  });
  readonly originQueued = new Gauge({
    name: 'damselfly_origin_requests_queued',
    help: 'Origin requests waiting for a slot.',
    registers: this.#registers,
  });
  readonly originRetries = new Counter({
    name: 'damselfly_origin_retries_total',
    help: 'Origin requests sent again, by reason.',
    labelNames: ['reason'],
    registers: this.#registers,
  });
  readonly breakerState = new Gauge({
    name: 'damselfly_origin_breaker_open',
    help: 'Per origin: 1 while its circuit breaker is open.',
    labelNames: ['origin'],
    registers: this.#registers,
  });
  readonly targetsForbidden = new Counter({
    name: 'damselfly_targets_forbidden_total',
    help: 'Requests refused by the SSRF rule.',
    registers: this.#registers,
  });
  readonly eventLoopLag = new Histogram({
    name: 'damselfly_event_loop_lag_seconds',
    help: 'How late a timer fired.',
    buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5],
    registers: this.#registers,
  });
  readonly healthy = new Gauge({
    name: 'damselfly_healthy',
    help: '1 while /healthy answers 200.',
    registers: this.#registers,
  });
  readonly info = new Gauge({
    name: 'damselfly_info',
    help: 'Always 1; the labels name the version.',
    labelNames: ['version', 'node'],
    registers: this.#registers,
  });

  constructor() {
    for (const source of SOURCES) this.#served.inc({ source }, 0);
    for (const source of ['peer', 'dragonfly', 'origin']) this.#received.inc({ source }, 0);
    for (const type of ['BACK_TO_SOURCE', 'REMOTE_PEER', 'LOCAL_PEER']) this.#traffic.inc({ type }, 0);
    for (const client of CLIENT_KINDS) {
      this.requested.inc({ client }, 0);
      this.headSeconds.zero({ client });
      for (const result of REQUEST_RESULTS) this.requests.inc({ client, result }, 0);
    }
    for (const scheme of ['http', 'https']) {
      for (const method of ['GET', 'HEAD']) {
        this.backendRequests.inc({ scheme, method }, 0);
        this.backendFailures.inc({ scheme, method }, 0);
        this.backendDuration.zero({ scheme, method });
      }
    }
    for (const outcome of ['known', 'granted', 'refused', 'unreachable', 'grace'])
      this.rightsChecks.inc({ outcome }, 0);
    for (const found of ['memory', 'disk', 'joined', 'missing']) this.pieces.inc({ found }, 0);
    for (const reason of ['no-room', 'disk-full', 'disk-error', 'disk-slow', 'read-only', 'busy', 'stopped'])
      this.storeDeclined.inc({ reason }, 0);
    for (const kind of ['blind', 'intercepted']) this.tunnels.inc({ kind }, 0);
    for (const direction of ['up', 'down']) this.tunnelBytes.inc({ direction }, 0);
    for (const reason of ['connect', 'status', 'body']) this.originRetries.inc({ reason }, 0);
  }

  /** Body bytes on their way to a client. */
  countServed(source: SourceName, bytes: number): void {
    this.#served.inc({ source }, bytes);
    if (TRAFFIC_TYPE[source] === 'LOCAL_PEER') this.#traffic.inc({ type: 'LOCAL_PEER' }, bytes);
  }

  /** Bytes that this node received from outside itself, whether a client or a prefetch wanted them. */
  countReceived(source: 'peer' | 'dragonfly' | 'origin', bytes: number): void {
    this.#traffic.inc({ type: TRAFFIC_TYPE[source] }, bytes);
    this.#received.inc({ source }, bytes);
    if (source === 'origin') this.originBytes.inc(bytes);
  }

  countRequest(client: ClientKind, result: RequestResult, asBlob: boolean): void {
    this.requests.inc({ client, result });
    this.#proxyRequests.inc();
    if (result === 'failed') this.#proxyFailures.inc();
    if (asBlob) this.#proxyVia.inc();
  }

  /** The sums that the status document shows, since start. */
  async totals(): Promise<MetricTotals> {
    const served = await byLabel(this.#served, 'source');
    const received = await byLabel(this.#received, 'source');
    const results = await byLabel(this.requests, 'result');
    const requests = { ok: 0, refused: 0, failed: 0, aborted: 0, total: 0 };
    for (const result of REQUEST_RESULTS) {
      requests[result] = results.get(result) ?? 0;
      requests.total += requests[result];
    }
    return {
      servedBytes: {
        memory: served.get('memory') ?? 0,
        disk: served.get('disk') ?? 0,
        peer: served.get('peer') ?? 0,
        dragonfly: served.get('dragonfly') ?? 0,
        origin: served.get('origin') ?? 0,
      },
      receivedBytes: {
        peer: received.get('peer') ?? 0,
        dragonfly: received.get('dragonfly') ?? 0,
        origin: received.get('origin') ?? 0,
      },
      requestedBytes: await sumOf(this.requested),
      originBytes: await sumOf(this.originBytes),
      requests,
      originRequests: { open: await sumOf(this.originOpen), queued: await sumOf(this.originQueued) },
    };
  }
}

export interface MetricTotals {
  readonly servedBytes: Readonly<Record<SourceName, number>>;
  readonly receivedBytes: Readonly<Record<'peer' | 'dragonfly' | 'origin', number>>;
  readonly requestedBytes: number;
  readonly originBytes: number;
  readonly requests: Readonly<Record<RequestResult | 'total', number>>;
  /** Origin requests under way, and waiting for a slot. */
  readonly originRequests: { readonly open: number; readonly queued: number };
}

async function sumOf(counter: Counter<string> | Gauge<string>): Promise<number> {
  let sum = 0;
  for (const { value } of (await counter.get()).values) sum += value;
  return sum;
}

async function byLabel(counter: Counter<string>, label: string): Promise<Map<string, number>> {
  const sums = new Map<string, number>();
  for (const { value, labels } of (await counter.get()).values) {
    const name = String(labels[label]);
    sums.set(name, (sums.get(name) ?? 0) + value);
  }
  return sums;
}
