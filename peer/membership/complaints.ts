import type { Logger } from '../../src/observe/log.ts';
import type { PeerId } from '../member.ts';
import { NowAndThen } from './now-and-then.ts';

/** What an operator has to know about others, said once in a while for each of them. */
export class Complaints {
  readonly #log: Logger;
  readonly #gate = new NowAndThen();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** @param remote the multiaddr that it came from. */
  stranger(remote: string): void {
    // Its port is another each time.
    const host = remote.replace(/\/tcp\/\d+.*$/, '');
    if (!this.#gate.isDue(`stranger ${host}`)) return;
    this.#log.warn(
      { remote: host },
      'refused a connection without the network key: a stranger, or a node with another peer.networkKeyFile',
    );
  }

  /** Somebody answered where this node dialled, and broke off. */
  turnedAway(address: string): void {
    if (!this.#gate.isDue(`turned away ${address}`)) return;
    this.#log.warn(
      { address },
      'what answers there does not accept the network key: it is no member, or has another peer.networkKeyFile',
    );
  }

  broken(peer: PeerId, why: string): void {
    if (!this.#gate.isDue(`broken ${peer}`)) return;
    this.#log.warn({ peer, why }, 'a member broke the membership protocol: another version, or a fault');
  }

  twin(): void {
    if (!this.#gate.isDue('twin')) return;
    this.#log.error(
      'another running node has the identity of this one: delete identity.key in the cache.dir of one of them and restart it',
    );
  }
}
