import { lookup as getaddrinfo, Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { LRUCache } from 'lru-cache';

/** Names that are remembered at once. */
const MAX_NAMES = 1_000;
/** However long a record may be kept by its own word: an origin that moves must be found again soon. */
const MAX_TTL_MS = 60_000;
/** Answers without a TTL (hosts file, the system's own resolver) and TTLs of 0, so that one pull asks once. */
const MIN_TTL_MS = 5_000;
/** c-ares doubles its wait on each try: 400 + 800 ms at most, inside the connect timeout. */
const QUERY_TIMEOUT_MS = 400;
const QUERY_TRIES = 2;

export interface Resolved {
  readonly addresses: readonly string[];
  readonly ttlMs: number;
}

/** One way to learn a name's addresses; null when it does not know the name. */
export type NameSource = (host: string) => Promise<Resolved | null>;

/**
 * Names to addresses with a small cache. The order is the system's own: literals, localhost, the hosts file, DNS by
 * c-ares (off the thread pool, which a stopped disk may fill), and, for what those do not know (search domains, mDNS,
 * NSS modules), the system's resolver.
 */
export class NameResolver {
  readonly #sources: readonly NameSource[];
  readonly #cache: LRUCache<string, readonly string[]>;

  constructor(sources: readonly NameSource[] = [hostsFile('/etc/hosts'), viaDns(), viaSystem()]) {
    this.#sources = sources;
    this.#cache = new LRUCache<string, readonly string[]>({
      max: MAX_NAMES,
      ttl: MIN_TTL_MS,
      fetchMethod: async (host, _stale, { options }) => {
        const found = await this.#ask(host);
        if (found === null) return undefined;
        options.ttl = Math.min(Math.max(found.ttlMs, MIN_TTL_MS), MAX_TTL_MS);
        return found.addresses;
      },
    });
  }

  /** @returns an empty list when nobody knows the name. */
  async resolve(host: string): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    const name = host.toLowerCase().replace(/\.$/, '');
    if (name === 'localhost' || name.endsWith('.localhost')) return ['127.0.0.1', '::1'];
    return (await this.#cache.fetch(name)) ?? [];
  }

  async #ask(host: string): Promise<Resolved | null> {
    for (const source of this.#sources) {
      const found = await source(host).catch(() => null);
      if (found !== null && found.addresses.length > 0) return found;
    }
    return null;
  }
}

/** The hosts file is read per uncached name: it is small, and Kubernetes edits it under a running process. */
export function hostsFile(path: string): NameSource {
  return async (host) => {
    const addresses: string[] = [];
    for (const line of (await readFile(path, 'utf8')).split('\n')) {
      const [address, ...names] = line.replace(/#.*$/, '').trim().split(/\s+/);
      if (address !== undefined && isIP(address) !== 0 && names.some((name) => name.toLowerCase() === host)) {
        addresses.push(address);
      }
    }
    return { addresses, ttlMs: MIN_TTL_MS };
  };
}

/** @param servers `address:port`; those of the system unless given. */
export function viaDns(servers?: readonly string[]): NameSource {
  return async (host) => {
    // Made per question, so that an edited resolv.conf counts.
    const resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: QUERY_TRIES });
    if (servers !== undefined) resolver.setServers(servers);
    const answers = await Promise.allSettled([
      resolver.resolve4(host, { ttl: true }),
      resolver.resolve6(host, { ttl: true }),
    ]);
    const records = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (records.length === 0) return null;
    return {
      addresses: records.map((record) => record.address),
      ttlMs: 1_000 * Math.min(...records.map((record) => record.ttl)),
    };
  };
}

export function viaSystem(): NameSource {
  return async (host) => {
    const found = await getaddrinfo(host, { all: true });
    return { addresses: found.map((entry) => entry.address), ttlMs: MIN_TTL_MS };
  };
}
