import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { formatAddress, type ListenAddress } from '../config/address.ts';
import type { Config } from '../config/schema.ts';
import type { TlsFiles } from '../config/sections/proxy.ts';
import { formatHost } from '../config/web.ts';
import type { Swarm } from '../peer/swarm/swarm.ts';
import { AccessGate } from './access/access-gate.ts';
import { BlobOwners } from './access/blob-owners.ts';
import { type AdminPorts, adminApp, MAX_PREFETCH_JOBS } from './admin/admin-server.ts';
import { listenAll } from './admin/http-server.ts';
import { metricsApp } from './admin/metrics-server.ts';
import { prefetchImage } from './admin/prefetch.ts';
import { cacheKeeper, NODE_BYTES_PER_SECOND } from './cache-keeper.ts';
import { Content } from './content/content.ts';
import { PieceBuffers } from './content/piece-buffers.ts';
import { ALONE, SWARM } from './content/run-plan.ts';
import { DamselflyError } from './errors.ts';
import { Health } from './observe/health.ts';
import { watchHealth } from './observe/health-watch.ts';
import { createLogger, type Logger } from './observe/log.ts';
import { Metrics } from './observe/metrics.ts';
import { RecentErrors } from './observe/recent-errors.ts';
import { createOrigin } from './origin/origin.ts';
import { OriginDirectory } from './origin/origin-directory.ts';
import { prefetchPorts } from './prefetch-ports.ts';
import { BaseRoute } from './proxy/base-route.ts';
import { BlobAnswer } from './proxy/blob-answer.ts';
import { BlobRoute } from './proxy/blob-route.ts';
import { BlobSizes } from './proxy/blob-sizes.ts';
import { createBodyWriter } from './proxy/body-writer.ts';
import { BypassRoute } from './proxy/bypass-route.ts';
import { CertificateAuthority } from './proxy/certificate-authority.ts';
import { ConnectRoute } from './proxy/connect-route.ts';
import type { Entrance } from './proxy/entrance.ts';
import { ForwardRoute } from './proxy/forward-route.ts';
import { Interceptor } from './proxy/interceptor.ts';
import { ManifestRoute } from './proxy/manifest-route.ts';
import { Router } from './proxy/router.ts';
import { loadSendfile } from './proxy/sendfile.ts';
import { ProxyServer } from './proxy/server.ts';
import { createShelf } from './shelf.ts';
import type { DiskLayer } from './store/disk-layer.ts';
import { openStore } from './store/store.ts';

export interface DaemonOptions {
  readonly version: string;
  readonly log?: Logger;
  /** What the configuration has that is valid and yet looks wrong: shown on the status page. */
  readonly warnings?: readonly string[];
  /** The file system under `cache.dir`; tests put a failing one here. */
  readonly disk?: DiskLayer;
}

export interface Daemon {
  /** What is really listened on, port 0 resolved. */
  readonly addresses: { readonly proxy: string[]; readonly admin: string[]; readonly metrics: string[] };
  /** Commits the index, ends streams for at most 5 s, frees everything. Never throws twice: later calls await the first. */
  stop(): Promise<void>;
}

/**
 * Builds a node from its configuration, the innermost part first, and starts it. Whatever was started is stopped
 * again, the last first, when a later part cannot be.
 * @throws DamselflyError cache-unusable, listen-failed, config-invalid.
 */
export async function startDaemon(config: Config, options: DaemonOptions): Promise<Daemon> {
  const log = options.log ?? createLogger(config.log.level);
  const stops: (() => Promise<void> | void)[] = [];
  const stopAll = async (): Promise<void> => {
    for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) {
      try {
        await stop();
      } catch (error) {
        log.error({ err: error }, 'a part did not stop cleanly');
      }
    }
  };
  try {
    const addresses = await startParts(config, { ...options, log }, stops);
    let stopping: Promise<void> | undefined;
    return {
      addresses,
      stop: () => {
        stopping ??= stopAll();
        return stopping;
      },
    };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

async function startParts(
  config: Config,
  { log, version, warnings = [], disk }: DaemonOptions & { readonly log: Logger },
  stops: (() => Promise<void> | void)[],
): Promise<Daemon['addresses']> {
  const startedAtMs = Date.now();
  const metrics = new Metrics();
  metrics.info.set({ version, node: process.version }, 1);
  const recentErrors = new RecentErrors();
  const health = new Health({ log, metrics });

  const { cache, access, proxy } = config;
  let swarm: Swarm | undefined;
  let lendFresh: Content['lendFresh'] | undefined;
  const store = await openStore({
    ...cache,
    log,
    metrics,
    disk,
    events: {
      lost: (blob, segment) => swarm?.lost(blob, segment),
      proven: (blob) => swarm?.proven(blob),
    },
  });
  stops.push(() => store.close());

  const directory = directoryOf(config);
  const origin = createOrigin({
    directory,
    metrics,
    userAgent: `damselfly/${version}`,
    onCredentialTrouble: (message) => log.warn({ message }, 'node credentials'),
  });
  stops.push(() => origin.close());

  const gate = new AccessGate({
    ...access,
    facts: store.facts,
    origin: origin.client,
    nodeCredentials: origin.credentials,
    log,
    metrics,
  });
  stops.push(() => gate.close());

  const { catalog } = store;
  const owners = new BlobOwners(store.facts);
  const buffers = new PieceBuffers();
  if (config.peer.enabled) {
    // A node without peers does not even load what they need.
    const { joinSwarm } = await import('./peers.ts');
    swarm = await joinSwarm(
      {
        config: config.peer,
        dir: cache.dir,
        origin: origin.source,
        sink: store.sink,
        shelf: createShelf({
          store,
          buffers,
          fresh: (digest, piece) => lendFresh?.(digest, piece),
          originsOf: (digest) => owners.ownersOf(digest),
          shares: (id) => directory.settings(id).share,
        }),
        pool: buffers,
        facts: store.facts,
        settingsOf: (id) => directory.settings(id),
        metrics: metrics.swarm,
        received: (bytes) => metrics.traffic.received('peer', bytes),
        log,
      },
      stops,
    );
  }
  const content = new Content({
    memory: store.memory,
    disk: store.disk,
    far: [swarm?.source ?? origin.source],
    sink: swarm?.sink ?? store.sink,
    catalog,
    log,
    metrics,
    prefetch: proxy.prefetch,
    reach: ({ kind, origin: id }) =>
      kind === 'blob' && swarm?.hasPeers() === true && directory.settings(id).share ? SWARM : ALONE,
    buffers,
    doubted: (blob) => swarm?.doubted(blob),
  });
  lendFresh = (digest, piece) => content.lendFresh(digest, piece);
  stops.push(() => content.close());

  const sizes = new BlobSizes({ origin: origin.client, source: origin.source, catalog });
  const answer = new BlobAnswer({ metrics, writeBody: createBodyWriter(await loadSendfile()) });
  const blobs = new BlobRoute({
    gate,
    content,
    sizes,
    owners,
    answer,
    bypass: new BypassRoute({ source: origin.source, sizes, owners, answer, metrics }),
    origin: origin.client,
    metrics,
    hasPeers: () => swarm?.hasPeers() ?? false,
    headersTimeoutMs: proxy.headersTimeoutMs,
  });
  const forward = new ForwardRoute({ origin: origin.client, metrics });
  const router = new Router({
    directory,
    blobs,
    manifests: new ManifestRoute({ gate, content, owners, origin: origin.client, blobs, metrics }),
    base: new BaseRoute(forward),
    forward,
    log,
    metrics,
    recentErrors,
  });

  // All ports at once, so that streams have 5 s in all and not at each of them. The index is committed first, while the
  // last streams end, so that nothing of it is lost to whoever is impatient.
  const closePorts: (() => Promise<void>)[] = [];
  stops.push(async () => {
    health.stopping();
    await all([store.flush(), ...closePorts.map((close) => close())]);
  });
  const interceptor = await interceptorOf(config, metrics);
  const connect = new ConnectRoute({
    directory,
    dialer: origin.dialer,
    interceptor,
    log,
    metrics,
    recentErrors,
  });
  closePorts.push(() => connect.close());
  const listened: string[] = [];
  for (const listener of listenersOf(config)) {
    const { entrance } = listener;
    const server = new ProxyServer({
      handle: (request, response) => {
        const tunnel = interceptor?.targetOf(request.socket);
        void router.handle(request, response, tunnel === undefined ? entrance : { tunnel });
      },
      connect: (request, socket, head, adopt) => void connect.handle(request, socket, head, adopt),
      healthy: () => health.healthy,
      isRootPing: entrance.blob === undefined,
      tls: listener.tls,
      log,
    });
    closePorts.push(() => server.close());
    listened.push(...(await server.listen(listener.addresses, listener.key)).map(formatAddress));
  }
  const watch = watchHealth({ health, metrics });
  stops.push(() => watch.stop());

  const jobs = { running: 0 };
  const listening = { proxy: listened, admin: [] as string[], metrics: [] as string[] };
  const ports: AdminPorts = {
    version,
    startedAtMs,
    token:
      config.admin.tokenFile === undefined
        ? undefined
        : readSetting('admin.tokenFile', config.admin.tokenFile).trim(),
    health: () => health.snapshot(),
    listen: () => listening,
    totals: () => metrics.totals(),
    cache: () => {
      const { allocatedBytes, maxBytes, blobs: count, degraded } = store.usage();
      return {
        dir: cache.dir,
        blobs: count,
        usedBytes: allocatedBytes,
        maxBytes,
        memoryBytes: store.memory.sizeBytes,
        maxMemoryBytes: cache.memoryBytes,
        degraded,
      };
    },
    origins: () => origin.http.standings(),
    prefetch: () => ({ running: jobs.running, maxRunning: MAX_PREFETCH_JOBS }),
    swarm: () => swarm?.status() ?? null,
    recentErrors: () => recentErrors.list(),
    warnings: () => warnings,
    log,
    keeper: cacheKeeper({
      store,
      log,
      defaultBytesPerSecond: NODE_BYTES_PER_SECOND,
      remove: (digest) => content.remove(digest),
      forget: (digest) => content.forget(digest),
      originsOf: (digest) => owners.ownersOf(digest),
      repositoriesOf: (digests, maxEach) => gate.repositoriesOf(digests, maxEach),
    }),
    prefetchImage: (request, signal) =>
      prefetchImage(prefetchPorts({ directory, origin, content, gate, owners, log }), request, signal),
  };
  const admin = await listenAll(() => adminApp(ports, jobs), config.admin.listen, 'admin.listen');
  closePorts.push(() => admin.close());
  listening.admin.push(...admin.listened);
  const scrape = await listenAll(() => metricsApp(metrics.registry), config.metrics.listen, 'metrics.listen');
  closePorts.push(() => scrape.close());
  listening.metrics.push(...scrape.listened);
  log.info({ version, ...listening, cache: cache.dir }, 'serving');
  return listening;
}

/** Waits for all of them, also when one fails. @throws what the first of these failed with. */
async function all(work: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason;
}

function directoryOf({ origins, proxy }: Config): OriginDirectory {
  return new OriginDirectory({
    origins: origins.map((entry, index) => ({
      ...entry,
      host: formatHost(entry.host),
      ca: entry.ca === undefined ? undefined : readSetting(`origins[${index}].ca`, entry.ca),
    })),
    defaultOrigin: proxy.defaultOrigin,
    allowOrigins: proxy.allowOrigins,
    listenerOrigins: proxy.listeners.flatMap(({ origin }) => (origin === undefined ? [] : [origin])),
  });
}

interface Listener {
  /** Of its addresses, in the configuration. */
  readonly key: string;
  readonly addresses: readonly ListenAddress[];
  readonly entrance: Entrance;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
}

function listenersOf({ proxy }: Config): Listener[] {
  const own = { listen: proxy.listen, origin: undefined, blob: undefined, tls: proxy.tls };
  return [own, ...proxy.listeners].map(({ listen, origin, blob, tls }, index) => {
    const at = index === 0 ? 'proxy' : `proxy.listeners[${index - 1}]`;
    return {
      key: `${at}.listen`,
      addresses: listen,
      entrance: { origin, blob },
      tls: tls === undefined ? undefined : tlsPair(`${at}.tls`, tls),
    };
  });
}

async function interceptorOf({ proxy }: Config, metrics: Metrics): Promise<Interceptor | undefined> {
  const { hosts, ca } = proxy.intercept;
  if (ca === undefined) return undefined;
  const authority = await CertificateAuthority.load({
    cert: readSetting('proxy.intercept.caCertFile', ca.certFile),
    key: readSetting('proxy.intercept.caKeyFile', ca.keyFile),
  });
  return new Interceptor({ hosts, authority, metrics });
}

/** @throws DamselflyError config-invalid for files that are no certificate and key, or do not belong together. */
function tlsPair(key: string, files: TlsFiles): { readonly cert: string; readonly key: string } {
  const pair = {
    cert: readSetting(`${key}.certFile`, files.certFile),
    key: readSetting(`${key}.keyFile`, files.keyFile),
  };
  try {
    createSecureContext(pair);
    return pair;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'unknown';
    throw new DamselflyError(
      'config-invalid',
      `${key}: ${files.certFile} and ${files.keyFile} are no PEM certificate and its private key (${reason})`,
      { facts: { key }, cause },
    );
  }
}

function readSetting(key: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    throw new DamselflyError(
      'config-invalid',
      `${key}: ${path} cannot be read (${reason}); name a file that this user may read`,
      { facts: { key, path }, cause },
    );
  }
}
