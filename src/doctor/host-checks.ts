import { readFile, stat } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { constrainedMemory } from 'node:process';
import type { TcpAddress } from '../../config/address.ts';
import type { ClientTarget } from '../../config/clients/client-target.ts';
import { type NodeView, nodeView } from '../../config/clients/node-view.ts';
import { TARGETS } from '../../config/clients/targets.ts';
import { UnsupportedRequest } from '../../config/clients/unsupported-request.ts';
import type { Config } from '../../config/schema.ts';
import { formatHost } from '../../config/web.ts';
import { readKeyFile } from '../../peer/identity/network-key-file.ts';
import type { OriginId } from '../blob/upstream.ts';
import { NameResolver } from '../origin/name-resolver.ts';
import { OriginDirectory } from '../origin/origin-directory.ts';
import { Pools } from '../origin/pools.ts';
import { loadSendfile } from '../proxy/sendfile.ts';
import { LOCK_FILE } from '../store/layout.ts';
import { type Check, skipped } from './check.ts';
import { checkClients } from './checks/clients.ts';
import { checkClock } from './checks/clock.ts';
import { type ConfigWorld, checkConfig } from './checks/config.ts';
import { checkDisk } from './checks/disk.ts';
import { checkKeyFiles } from './checks/key-files.ts';
import { checkMemory, checkOpenFiles } from './checks/limits.ts';
import { checkLock } from './checks/lock.ts';
import { checkNode } from './checks/node.ts';
import { checkOrigins } from './checks/origins.ts';
import { checkPeers } from './checks/peers.ts';
import { checkPorts } from './checks/ports.ts';
import { checkRuntime } from './checks/runtime.ts';
import { addressesOf, keyFilesOf } from './configured.ts';
import { tryListen } from './host/bind.ts';
import { clientFiles } from './host/client-files.ts';
import { systemFiles } from './host/files.ts';
import { get } from './host/get.ts';
import { dial, ownAddresses } from './host/network.ts';
import { type OriginProbe, probeOrigin } from './host/origin-probe.ts';
import { fileSystem, kindOf, modeOf, writable } from './host/paths.ts';
import { listeners, lockHolder } from './host/processes.ts';
import { programVersion } from './host/program-version.ts';
import { askNode } from './running-node.ts';

/** Origins that are asked; more of them would only repeat themselves. */
const MAX_ORIGINS = 32;

export interface HostOptions {
  /** undefined: it is refused, and `checked.problems` says why. */
  readonly config: Config | undefined;
  readonly checked: ConfigWorld;
  /** Warnings that are told already. */
  readonly known: readonly string[];
  readonly version: string;
  /** Where the node is asked, `host:port`. */
  readonly admin: string | undefined;
  readonly proxy: string | undefined;
  readonly metrics: string | undefined;
  /** Where the clients of this host are to go, in place of the first address of `proxy.listen`. */
  readonly main: TcpAddress | undefined;
  /** Root of the clients' files, `/`. */
  readonly root: string;
  reasonOf(error: unknown): string;
  formatBytes(bytes: number): string;
}

/** All checks of this host, wired to it. `close` when they have run. */
export function hostChecks(options: HostOptions): {
  readonly checks: readonly Check[];
  close(): Promise<void>;
} {
  const { config, checked, reasonOf, formatBytes } = options;
  const always: Check[] = [
    { name: 'config', run: () => checkConfig(checked) },
    {
      name: 'runtime',
      run: () =>
        checkRuntime({
          nodeVersion: process.versions.node,
          threads: process.env.UV_THREADPOOL_SIZE,
          hasSendfile: async () => (await loadSendfile()) !== null,
        }),
    },
  ];
  if (config === undefined) return { checks: always, close: async () => undefined };

  const { cache, peer } = config;
  const stopping = new AbortController();
  const { signal: stopped } = stopping;
  const node = askNode(options.admin, get, stopped, reasonOf);
  const resolver = new NameResolver();
  const pools = new Pools({ connections: 2, onForbidden: () => undefined, resolver });
  const probes = probeAll(config, { resolver, pools }, stopped);
  // Whoever needs it hears of it; with no check left that does, nobody.
  probes.catch(() => undefined);
  const usedBytes = node.then((found) =>
    found.kind === 'node' && found.status.cache.dir === cache.dir ? found.status.cache.usedBytes : undefined,
  );
  const lockInode = async (): Promise<number | undefined> =>
    (await stat(join(cache.dir, LOCK_FILE)).catch(() => undefined))?.ino;
  const own: Check[] = [
    {
      name: 'node',
      run: (signal) =>
        checkNode(
          {
            node,
            version: options.version,
            known: options.known,
            admin: options.admin,
            proxy: options.proxy,
            metrics: options.metrics,
            get,
          },
          signal,
        ),
    },
    {
      name: 'ports',
      run: (signal) =>
        checkPorts(
          {
            addresses: addressesOf(config),
            node,
            tryListen,
            listeners: (ports, stop) => listeners(systemFiles, ports, stop),
          },
          signal,
        ),
    },
    {
      name: 'cache-dir',
      run: () =>
        checkLock({ dir: cache.dir, node, lockInode, lockHolder: (inode) => lockHolder(systemFiles, inode) }),
    },
    {
      name: 'disk',
      run: () => checkDisk({ ...cache, usedBytes, kindOf, writable, fileSystem, formatBytes }),
    },
    { name: 'origins', run: () => checkOrigins({ probes, reasonOf, nowMs: Date.now() }) },
    { name: 'clock', run: () => checkClock({ probes }) },
    {
      name: 'peers',
      run: (signal) =>
        checkPeers(
          {
            ...peer,
            node,
            ownAddresses: ownAddresses(),
            readKeys: async (path) => (await readKeyFile(path)).map(({ fingerprint }) => fingerprint),
            resolve: (host) => resolver.resolve(host),
            dial,
            reasonOf,
          },
          signal,
        ),
    },
    { name: 'files', run: () => checkKeyFiles({ files: keyFilesOf(config), modeOf }) },
    {
      name: 'open-files',
      run: async () => {
        const inode = await lockInode();
        const found = await node;
        const holder =
          found.kind === 'node' && inode !== undefined ? await lockHolder(systemFiles, inode) : undefined;
        const pid = holder?.pid ?? 'self';
        const whose = pid === 'self' ? 'a process of this shell' : `the node (pid ${pid})`;
        const text = await systemFiles.read(`/proc/${pid}/limits`);
        return checkOpenFiles({ limits: Promise.resolve({ whose, text }) });
      },
    },
    {
      name: 'memory',
      run: () => {
        const limit = constrainedMemory();
        const isOfCgroup = limit > 0 && limit < totalmem();
        const limitBytes = isOfCgroup ? limit : totalmem();
        return checkMemory({ limitBytes, isOfCgroup, memoryBytes: cache.memoryBytes, formatBytes });
      },
    },
  ];
  const clients: Check = {
    name: 'clients',
    run: async (signal) => {
      let view: NodeView;
      try {
        view = nodeView(config, options.main);
      } catch (error) {
        if (!(error instanceof UnsupportedRequest)) throw error;
        return [skipped(undefined, `not judged: ${error.message}`)];
      }
      return await checkClients(
        { clients: TARGETS.map((target) => judged(target, view, options.root)) },
        signal,
      );
    },
  };
  return {
    checks: [...always, ...own, clients],
    close: async () => {
      stopping.abort(new DOMException('the checks are over', 'AbortError'));
      await Promise.allSettled([node, probes, pools.close()]);
    },
  };
}

function judged(target: ClientTarget, node: NodeView, root: string) {
  const files = clientFiles(root);
  return {
    name: target.title,
    judge: async (signal: AbortSignal) => {
      const { versionProgram, configFile } = target;
      // Another system's programs are not run, and those of a client that is not here have nothing to say.
      const isAsked = versionProgram !== undefined && root === '/' && files.read(configFile) !== undefined;
      const clientVersion = isAsked ? await programVersion(versionProgram, signal) : undefined;
      return target.judge(files, { node, clientVersion });
    },
  };
}

async function probeAll(
  config: Config,
  parts: { resolver: NameResolver; pools: Pools },
  signal: AbortSignal,
): Promise<OriginProbe[]> {
  const { origins, proxy } = config;
  const directory = new OriginDirectory({
    origins: await Promise.all(
      origins.map(async (entry) => ({
        ...entry,
        host: formatHost(entry.host),
        // One that cannot be read is told by the check of files; here its origin shows as not trusted.
        ca: entry.ca === undefined ? undefined : await readFile(entry.ca, 'utf8').catch(() => undefined),
      })),
    ),
    defaultOrigin: proxy.defaultOrigin,
    allowOrigins: proxy.allowOrigins,
    listenerOrigins: proxy.listeners.flatMap(({ origin }) => (origin === undefined ? [] : [origin])),
  });
  const named = [
    ...(proxy.defaultOrigin === undefined ? [] : [proxy.defaultOrigin]),
    ...proxy.listeners.flatMap(({ origin }) => (origin === undefined ? [] : [origin])),
    ...origins.flatMap(({ host }) => (host.wildcard ? [] : [formatHost(host)])),
  ];
  const ids = new Set<OriginId>(named.map((text) => directory.resolve(text)));
  const asked = [...ids].slice(0, MAX_ORIGINS);
  return await Promise.all(asked.map((id) => probeOrigin({ directory, ...parts }, id, signal)));
}
