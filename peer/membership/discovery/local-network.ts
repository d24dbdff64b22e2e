import type { Libp2p, PeerInfo } from '@libp2p/interface';
import type { DiscoverySource } from './source.ts';

const MAX_ADDRESSES = 256;

/** What libp2p's own discovery (mDNS, when it is on) finds; libp2p asks and answers, this only listens. */
export class LocalNetwork implements DiscoverySource {
  readonly name = 'mdns';
  readonly #node: Libp2p;
  /** The last found ones; a Set keeps their order. */
  readonly #addresses = new Set<string>();
  #listener: ((event: CustomEvent<PeerInfo>) => void) | undefined;

  constructor(node: Libp2p) {
    this.#node = node;
  }

  start(found: (addresses: readonly string[]) => void): void {
    this.#listener = ({ detail }) => {
      for (const address of detail.multiaddrs) {
        const text = `${address.toString().replace(/\/p2p\/.*$/, '')}/p2p/${detail.id}`;
        this.#addresses.delete(text);
        this.#addresses.add(text);
      }
      for (const oldest of this.#addresses) {
        if (this.#addresses.size <= MAX_ADDRESSES) break;
        this.#addresses.delete(oldest);
      }
      found([...this.#addresses]);
    };
    this.#node.addEventListener('peer:discovery', this.#listener);
  }

  /** libp2p asks the network every ten seconds, whatever happens. */
  refresh(): void {
    // Nothing to do.
  }

  stop(): void {
    if (this.#listener !== undefined) this.#node.removeEventListener('peer:discovery', this.#listener);
    this.#listener = undefined;
  }
}
