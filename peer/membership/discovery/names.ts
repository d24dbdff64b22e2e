import { isIP } from 'node:net';
import type { Logger } from '../../../src/observe/log.ts';
import { type Endpoint, ofFamily, parseEndpoint, toMultiaddr } from './endpoint.ts';
import type { DiscoverySource, ResolveName } from './source.ts';

/** Pods come and go; a headless service's records follow within seconds. */
const EVERY_MS = 5_000;
/** Trouble makes it look at once, but not over and over. */
const MIN_GAP_MS = 1_000;
/** A resolver that hangs holds up this look, not the next. */
const DEADLINE_MS = 4_000;

export interface NamesOptions {
  /** For logs and the status: static, dns, bootstrap. */
  readonly name: string;
  /** `host[:port]` or multiaddrs. */
  readonly endpoints: readonly string[];
  readonly resolve: ResolveName;
  readonly log: Logger;
  readonly everyMs?: number;
}

/** Members by address or by name; names are resolved again every few seconds, all their A and AAAA records count. */
export class Names implements DiscoverySource {
  readonly name: string;
  readonly #o: NamesOptions;
  readonly #endpoints: readonly Endpoint[];
  /** What each name gave last: an answer that fails does not take back the one of before. */
  readonly #known = new Map<string, readonly string[]>();
  readonly #unknown = new Set<string>();
  #found: ((addresses: readonly string[]) => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(options: NamesOptions) {
    this.name = options.name;
    this.#o = options;
    this.#endpoints = options.endpoints.map(parseEndpoint);
  }

  start(found: (addresses: readonly string[]) => void): void {
    this.#found = found;
    void this.#look();
  }

  refresh(): void {
    if (this.#isLooking || this.#found === undefined || !this.#hasNames()) return;
    this.#arm(Math.max(0, this.#lookedMs + MIN_GAP_MS - performance.now()));
  }

  stop(): void {
    this.#found = undefined;
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    this.#isLooking = true;
    this.#lookedMs = performance.now();
    const lists = await Promise.all(this.#endpoints.map((endpoint) => this.#addressesOf(endpoint)));
    this.#isLooking = false;
    this.#found?.([...new Set(lists.flat())]);
    if (this.#hasNames()) this.#arm(this.#o.everyMs ?? EVERY_MS);
  }

  #arm(delayMs: number): void {
    clearTimeout(this.#timer);
    if (this.#found === undefined) return;
    this.#timer = setTimeout(() => void this.#look(), delayMs);
    this.#timer.unref();
  }

  #hasNames(): boolean {
    return this.#endpoints.some(({ host }) => isIP(host) === 0);
  }

  async #addressesOf({ host, port, family, peer }: Endpoint): Promise<string[]> {
    const addresses = isIP(host) === 0 ? await this.#resolve(host) : [host];
    return ofFamily(addresses, family).map((address) => toMultiaddr(address, port, peer));
  }

  async #resolve(host: string): Promise<readonly string[]> {
    const addresses = await inTime(this.#o.resolve(host), DEADLINE_MS);
    if (addresses.length > 0) {
      if (this.#unknown.delete(host))
        this.#o.log.info({ name: host, source: this.name }, 'the name is known again');
      this.#known.set(host, addresses);
      return addresses;
    }
    if (!this.#unknown.has(host)) {
      this.#unknown.add(host);
      this.#o.log.warn(
        { name: host, source: this.name },
        'no address is known for a name of peer.discovery: it is asked for again every few seconds',
      );
    }
    return this.#known.get(host) ?? [];
  }
}

async function inTime(work: Promise<readonly string[]>, deadlineMs: number): Promise<readonly string[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<readonly string[]>((resolve) => {
    timer = setTimeout(() => resolve([]), deadlineMs);
    timer.unref();
  });
  try {
    return await Promise.race([work.catch(() => []), late]);
  } finally {
    clearTimeout(timer);
  }
}
