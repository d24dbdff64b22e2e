import type { Config } from '../config/schema.ts';
import { readSetting } from '../config/setting-files.ts';
import { formatHost } from '../config/web.ts';
import type { Swarm } from '../peer/swarm/swarm.ts';
import { AccessGate } from './access/access-gate.ts';
import { BlobOwners } from './access/blob-owners.ts';
import { adminApp } from './admin/admin-server.ts';
import { listenAll } from './admin/http-server.ts';
import { metricsApp } from './admin/metrics-server.ts';
import { adminPorts } from './admin-ports.ts';
import type { OriginId } from './blob/upstream.ts';
import { Content } from './content/content.ts';
import { PieceBuffers } from './content/piece-buffers.ts';
import { ALONE, SWARM } from './content/run-plan.ts';
import { Health } from './observe/health.ts';
import { watchHealth } from './observe/health-watch.ts';
import { createLogger, type Logger } from './observe/log.ts';
import { Metrics } from './observe/metrics.ts';
import { RecentErrors } from './observe/recent-errors.ts';
import { createOrigin } from './origin/origin.ts';
import { OriginDirectory } from './origin/origin-directory.ts';
import type { PeerPresence } from './peer-presence.ts';
import { BaseRoute } from './proxy/base-route.ts';
import { BlobAnswer } from './proxy/blob-answer.ts';
import { BlobRoute } from './proxy/blob-route.ts';
import { BlobSizes } from './proxy/blob-sizes.ts';
import { createBodyWriter } from './proxy/body-writer.ts';
import { BypassRoute } from './proxy/bypass-route.ts';
import { ForwardRoute } from './proxy/forward-route.ts';
import { ManifestRoute } from './proxy/manifest-route.ts';
import { Router } from './proxy/router.ts';
import { loadSendfile } from './proxy/sendfile.ts';
import { SharedManifests } from './proxy/shared-manifests.ts';
import { openProxyPorts } from './proxy-ports.ts';
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
  /** Undefined: it exchanges pieces with nobody. */
  readonly peer: PeerPresence | undefined;
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
    const started = await startParts(config, { ...options, log }, stops);
    let stopping: Promise<void> | undefined;
    return {
      ...started,
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
): Promise<Pick<Daemon, 'addresses' | 'peer'>> {
  const startedAtMs = Date.now();
  const metrics = new Metrics();
  metrics.info.set({ version, node: process.version }, 1);
  const recentErrors = new RecentErrors();
  const health = new Health({ log, metrics });

  const { cache, access, proxy } = config;
  let swarm: Swarm | undefined;
  let peer: PeerPresence | undefined;
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
    const joined = await joinSwarm(
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
    swarm = joined.swarm;
    peer = joined.presence;
  }
  const isShared = (id: OriginId): boolean => swarm?.hasPeers() === true && directory.settings(id).share;
  const content = new Content({
    memory: store.memory,
    disk: store.disk,
    far: [swarm?.source ?? origin.source],
    sink: swarm?.sink ?? store.sink,
    catalog,
    log,
    metrics,
    prefetch: proxy.prefetch,
    reach: ({ origin: id }) => (isShared(id) ? SWARM : ALONE),
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
    manifests: new ManifestRoute({
      ...{ gate, content, owners, blobs, metrics },
      origin: origin.client,
      shared: new SharedManifests({ content, owners, catalog, isShared }),
    }),
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
  const listened = await openProxyPorts(
    config,
    { router, directory, dialer: origin.dialer, health, log, metrics, recentErrors },
    closePorts,
  );
  const watch = watchHealth({ health, metrics });
  stops.push(() => watch.stop());

  const jobs = { running: 0 };
  const listening = { proxy: listened, admin: [] as string[], metrics: [] as string[] };
  const ports = adminPorts({
    ...{ config, version, startedAtMs, warnings, jobs, store, directory, origin, content, gate, owners },
    ...{ health, metrics, recentErrors, log },
    listen: () => listening,
    swarm: () => swarm?.status() ?? null,
  });
  const admin = await listenAll(() => adminApp(ports, jobs), config.admin.listen, 'admin.listen');
  closePorts.push(() => admin.close());
  listening.admin.push(...admin.listened);
  const scrape = await listenAll(() => metricsApp(metrics.registry), config.metrics.listen, 'metrics.listen');
  closePorts.push(() => scrape.close());
  listening.metrics.push(...scrape.listened);
  log.info({ version, ...listening, cache: cache.dir }, 'serving');
  return { addresses: listening, peer };
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
