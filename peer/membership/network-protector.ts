import { randomBytes } from 'node:crypto';
import type {
  AbortOptions,
  ConnectionProtector,
  MessageStream,
  MultiaddrConnection,
} from '@libp2p/interface';
import { byteStream } from '@libp2p/utils';
import type { NetworkKey } from '../identity/network-key.ts';
import type { NetworkKeys } from '../identity/network-keys.ts';
import { Cipher } from './cipher.ts';
import { SealedConnection } from './sealed-connection.ts';

const NONCE_BYTES = 24;
/** What every dialler says first (libp2p specs, multistream-select): its length, then the protocol's name. */
const HEADER = Buffer.from('\x13/multistream/1.0.0\n');
const DEADLINE_MS = 5_000;

/** It spoke, but under none of the network's keys. */
export class StrangerError extends Error {
  constructor(remote: string) {
    super(`${remote} does not have the network key`);
    this.name = 'StrangerError';
  }
}

export interface NetworkProtectorOptions {
  readonly keys: NetworkKeys;
  /** @param remote its multiaddr. */
  readonly onStranger: (remote: string) => void;
}

/**
 * libp2p's private network with several keys, so that they can be exchanged without a stop: whoever accepts finds the key
 * under which the first bytes make sense; whoever dials takes the one that {@link useKey} named for that address.
 * One key at a time is the stock protocol, and talks with it.
 */
export class NetworkProtector implements ConnectionProtector {
  readonly #o: NetworkProtectorOptions;
  readonly #chosen = new Map<string, NetworkKey>();
  /** Addresses where something answered the exchange of nonces. */
  readonly #answered = new Set<string>();
  readonly #open = new Map<SealedConnection, NetworkKey>();
  readonly #stopWatching: () => void;

  constructor(options: NetworkProtectorOptions) {
    this.#o = options;
    this.#stopWatching = options.keys.onChange(() => this.#dropRevoked());
  }

  readonly [Symbol.toStringTag] = 'damselfly/network-protector';

  /** The next dial of this address goes by this key. */
  useKey(address: string, key: NetworkKey): void {
    this.#chosen.set(address, key);
    this.#answered.delete(address);
  }

  /** @returns whether the dial got so far that another key may help. */
  forgetDial(address: string): boolean {
    this.#chosen.delete(address);
    return this.#answered.delete(address);
  }

  close(): void {
    this.#stopWatching();
  }

  async protect(stream: MessageStream, options?: AbortOptions): Promise<MessageStream> {
    // The upgrader hands the transport's own connection in here, whatever the type says.
    const connection = stream as MultiaddrConnection;
    const signal = options?.signal ?? AbortSignal.timeout(DEADLINE_MS);
    const remote = connection.remoteAddr.toString();
    const bytes = byteStream(connection);
    const localNonce = randomBytes(NONCE_BYTES);
    const [remoteNonce] = await Promise.all([
      bytes.read({ bytes: NONCE_BYTES, signal }),
      bytes.write(localNonce, { signal }),
    ]);
    const nonce = remoteNonce.subarray();
    let key: NetworkKey;
    let early: Uint8Array = new Uint8Array();
    if (connection.direction === 'outbound') {
      this.#answered.add(remote);
      key = this.#chosen.get(remote) ?? this.#o.keys.first;
    } else {
      early = await this.#firstBytes(() => bytes.read({ bytes: HEADER.length, signal }), remote);
      key = this.#keyOf(nonce, early, remote);
    }
    const secret = secretOf(key);
    const inbound = new Cipher(nonce, secret);
    const sealed = new SealedConnection(bytes.unwrap(), {
      inbound,
      outbound: new Cipher(localNonce, secret),
    });
    this.#open.set(sealed, key);
    sealed.addEventListener('close', () => this.#open.delete(sealed), { once: true });
    inbound.apply(early, early);
    sealed.start(early);
    return sealed;
  }

  /** Something that sent a nonce's worth of bytes and then no more spoke another protocol. */
  async #firstBytes(read: () => Promise<{ subarray(): Uint8Array }>, remote: string): Promise<Uint8Array> {
    try {
      return (await read()).subarray();
    } catch {
      this.#o.onStranger(remote);
      throw new StrangerError(remote);
    }
  }

  #keyOf(nonce: Uint8Array, early: Uint8Array, remote: string): NetworkKey {
    for (const key of this.#o.keys.accepted) {
      const cipher = new Cipher(nonce, secretOf(key));
      const clear = Buffer.alloc(early.length);
      cipher.apply(early, clear);
      cipher.end();
      if (HEADER.equals(clear)) return key;
    }
    this.#o.onStranger(remote);
    throw new StrangerError(remote);
  }

  /** A key that was taken out of the file lets nobody in any longer, also not those who are in. */
  #dropRevoked(): void {
    const { accepted } = this.#o.keys;
    for (const [sealed, key] of this.#open) {
      if (!accepted.some((other) => other.equals(key)))
        sealed.abort(new Error('its network key is no longer accepted'));
    }
  }
}

/** The third line of a key file's block. */
function secretOf(key: NetworkKey): Buffer {
  return Buffer.from(key.toBlock().split('\n')[2] ?? '', 'hex');
}
