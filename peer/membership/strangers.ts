import { LRUCache } from 'lru-cache';
import type { Logger } from '../../src/observe/log.ts';

const REMEMBERED = 256;
const AGAIN_MS = 10 * 60_000;

/** Says of each host once in a while that it is no member, however often it knocks. */
export class Strangers {
  readonly #log: Logger;
  readonly #told = new LRUCache<string, true>({ max: REMEMBERED, ttl: AGAIN_MS });

  constructor(log: Logger) {
    this.#log = log;
  }

  /** @param remote the multiaddr that it came from. */
  refused(remote: string): void {
    // Its port is another each time.
    const host = remote.replace(/\/tcp\/\d+.*$/, '');
    if (this.#told.has(host)) return;
    this.#told.set(host, true);
    this.#log.warn(
      { remote: host },
      'refused a connection without the network key (peer.networkKeyFile): a stranger, or a node with another key file',
    );
  }
}
