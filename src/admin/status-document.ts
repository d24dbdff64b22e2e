import type { SwarmStatus } from '../../peer/status.ts';
import type { SourceName } from '../blob/source.ts';
import type { MetricTotals } from '../observe/metrics.ts';
import type { RecentError } from '../observe/recent-errors.ts';

/** `GET /api/v1/status`, version 1: keys are only ever added. Bytes are bytes, times are ISO 8601. */
export interface StatusDocument {
  readonly version: string;
  /** The Node.js version that runs this. */
  readonly node: string;
  readonly startedAt: string;
  readonly uptimeSeconds: number;
  readonly health: HealthStatus;
  /** What is really listened on, `host:port` or `unix:/path`, port 0 resolved. */
  readonly listen: ListenStatus;
  readonly traffic: TrafficStatus;
  readonly requests: RequestStatus;
  /** Requests to origins under way, and waiting for a slot. */
  readonly originRequests: MetricTotals['originRequests'];
  readonly cache: CacheStatus;
  /** Hosts that requests went to since the start. */
  readonly origins: readonly OriginStatus[];
  readonly prefetch: PrefetchStatus;
  /** null: this node exchanges pieces with nobody. */
  readonly peers: SwarmStatus | null;
  /** Oldest first. */
  readonly recentErrors: readonly RecentError[];
  /** What the configuration has that is valid and yet looks wrong. */
  readonly warnings: readonly string[];
}

export interface HealthStatus {
  readonly healthy: boolean;
  /** Since when it is so. */
  readonly since: string;
  /** Why it is not healthy; empty when it is. */
  readonly reasons: readonly string[];
}

export interface ListenStatus {
  readonly proxy: readonly string[];
  readonly metrics: readonly string[];
  readonly admin: readonly string[];
}

export interface TrafficStatus {
  /** Body bytes sent to clients, by where they came from. */
  readonly servedBytes: Readonly<Record<SourceName, number>>;
  /** Bytes received from outside this node, whether a client or a prefetch wanted them. */
  readonly receivedBytes: Readonly<Record<'peer' | 'dragonfly' | 'origin', number>>;
  /** Blob bytes that clients asked for and got. */
  readonly requestedBytes: number;
  /** Body bytes of blobs and manifests read from origins. */
  readonly originBytes: number;
  /** Origin egress that this node avoided: requested less origin bytes, never below 0. */
  readonly savedBytes: number;
  /** Origin bytes divided by requested bytes; null before anything was requested. */
  readonly amplification: number | null;
}

export interface RequestStatus {
  readonly total: number;
  readonly ok: number;
  readonly refused: number;
  readonly failed: number;
  readonly aborted: number;
}

export interface CacheStatus {
  readonly dir: string;
  readonly blobs: number;
  /** Allocated bytes of everything under `dir`. */
  readonly usedBytes: number;
  readonly maxBytes: number;
  readonly memoryBytes: number;
  readonly maxMemoryBytes: number;
  /** Why pieces pass through unkept at the moment; null while the disk is well. */
  readonly degraded: string | null;
}

export interface OriginStatus {
  readonly origin: string;
  /** open: the origin failed five times in a row, and one request a second tries it again. */
  readonly breaker: 'closed' | 'open';
}

export interface PrefetchStatus {
  readonly running: number;
  readonly maxRunning: number;
}

/** Where the document's parts come from; daemon.ts adapts the real ones. Every call is cheap and in memory. */
export interface StatusPorts {
  readonly version: string;
  readonly startedAtMs: number;
  health(): HealthStatus;
  listen(): ListenStatus;
  totals(): Promise<MetricTotals>;
  cache(): CacheStatus;
  origins(): readonly OriginStatus[];
  prefetch(): PrefetchStatus;
  swarm(): SwarmStatus | null;
  recentErrors(): readonly RecentError[];
  warnings(): readonly string[];
}

export async function statusDocument(
  ports: StatusPorts,
  nowMs: number = Date.now(),
): Promise<StatusDocument> {
  const totals = await ports.totals();
  const { requestedBytes, originBytes } = totals;
  return {
    version: ports.version,
    node: process.version,
    startedAt: new Date(ports.startedAtMs).toISOString(),
    uptimeSeconds: Math.max(0, Math.round((nowMs - ports.startedAtMs) / 1000)),
    health: ports.health(),
    listen: ports.listen(),
    traffic: {
      servedBytes: totals.servedBytes,
      receivedBytes: totals.receivedBytes,
      requestedBytes,
      originBytes,
      savedBytes: Math.max(0, requestedBytes - originBytes),
      amplification: requestedBytes === 0 ? null : originBytes / requestedBytes,
    },
    requests: totals.requests,
    originRequests: totals.originRequests,
    cache: ports.cache(),
    origins: ports.origins(),
    prefetch: ports.prefetch(),
    peers: ports.swarm(),
    recentErrors: ports.recentErrors(),
    warnings: ports.warnings(),
  };
}
