import { performance } from 'node:perf_hooks';
import type { Metrics } from '../observe/metrics.ts';
import type { ConnectorFactory } from './connector.ts';
import { Dialer } from './dialer.ts';
import { HttpClient } from './http-client.ts';
import { Limiters } from './limiters.ts';
import { NameResolver } from './name-resolver.ts';
import { NodeCredentials } from './node-credentials.ts';
import { OriginClient } from './origin-client.ts';
import type { OriginDirectory } from './origin-directory.ts';
import { OriginSource } from './origin-source.ts';
import { Pools } from './pools.ts';
import type { ProxyForUrl } from './proxy-env.ts';
import { DEFAULT_RETRY, type RetryPolicy } from './retry.ts';

/** Blob bodies at once per origin: a node's lazy mounts have some dozen reads under way each. */
export const BODY_SLOTS = 32;
/** Heads and manifests at once per origin. */
export const CONTROL_SLOTS = 32;
/** Passed-through requests at once per origin: their bodies may be long, and their readers slow. */
export const FORWARD_SLOTS = 32;
/** Requests per origin that may wait for each kind of slot. */
export const MAX_QUEUED = 512;

export interface OriginOptions {
  readonly directory: OriginDirectory;
  readonly metrics: Metrics;
  /** Sent as User-Agent on our own requests. */
  readonly userAgent?: string | undefined;
  readonly bodySlots?: number | undefined;
  readonly controlSlots?: number | undefined;
  readonly forwardSlots?: number | undefined;
  readonly maxQueued?: number | undefined;
  /** A body without a byte for so long is dropped and resumed. */
  readonly stallMs?: number | undefined;
  readonly connectTimeoutMs?: number | undefined;
  /** Of a tunnel's connection, a proxy's answer included. */
  readonly dialTimeoutMs?: number | undefined;
  readonly retry?: Partial<RetryPolicy> | undefined;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: (() => number) | undefined;
  readonly resolver?: Pick<NameResolver, 'resolve'> | undefined;
  readonly connectorFactory?: ConnectorFactory | undefined;
  readonly proxyForUrl?: ProxyForUrl | undefined;
  /** Told what is wrong with a credentials file or helper, without a secret. */
  readonly onCredentialTrouble?: ((message: string) => void) | undefined;
}

/** The parts of this folder, wired. */
export interface Origin {
  readonly client: OriginClient;
  readonly source: OriginSource;
  readonly http: HttpClient;
  readonly credentials: NodeCredentials;
  readonly dialer: Dialer;
  /** Drops every connection. */
  close(): Promise<void>;
}

export function createOrigin(options: OriginOptions): Origin {
  const { directory, metrics } = options;
  const retry: RetryPolicy = { ...DEFAULT_RETRY, ...options.retry };
  const bodySlots = options.bodySlots ?? BODY_SLOTS;
  const controlSlots = options.controlSlots ?? CONTROL_SLOTS;
  const forwardSlots = options.forwardSlots ?? FORWARD_SLOTS;
  const maxQueued = options.maxQueued ?? MAX_QUEUED;
  const userAgent = options.userAgent ?? 'damselfly';
  const resolver = options.resolver ?? new NameResolver();
  const onForbidden = (): void => metrics.targetsForbidden.inc();
  const pools = new Pools({
    connections: bodySlots + controlSlots + forwardSlots,
    onForbidden,
    resolver,
    connectorFactory: options.connectorFactory,
    proxyForUrl: options.proxyForUrl,
    connectTimeoutMs: options.connectTimeoutMs,
  });
  const now = options.now ?? (() => performance.now());
  const http = new HttpClient({ directory, pools, metrics, retry, now });
  const control = new Limiters({ slots: controlSlots, maxQueued }, metrics);
  const forwards = new Limiters({ slots: forwardSlots, maxQueued }, metrics);
  const client = new OriginClient({ directory, http, limiters: control, forwards, metrics, userAgent });
  const source = new OriginSource({
    directory,
    http,
    client,
    limiters: new Limiters({ slots: bodySlots, maxQueued }, metrics),
    metrics,
    retry,
    userAgent,
    stallMs: options.stallMs,
  });
  const credentials = new NodeCredentials({
    directory,
    http,
    userAgent,
    onTrouble: options.onCredentialTrouble ?? (() => undefined),
  });
  const dialer = new Dialer({
    directory,
    onForbidden,
    resolver,
    proxyForUrl: options.proxyForUrl,
    timeoutMs: options.dialTimeoutMs,
  });
  return { client, source, http, credentials, dialer, close: () => pools.close() };
}
