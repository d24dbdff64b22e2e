import { createHash, createHmac, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';

/** First line of a key block; the format is libp2p's own for private networks (libp2p specs, pnet). */
export const KEY_HEADER = '/key/swarm/psk/1.0.0/';
export const KEY_ENCODING = '/base16/';
export const NETWORK_KEY_BYTES = 32;

/** Public: whoever can reach the ports of an insecure network is a member of it. */
const INSECURE_SEED = 'damselfly: a network without a key';

/** The secret that makes a node a member. Every accidental way into a log prints a placeholder. */
export class NetworkKey {
  /** Names the key in logs without giving anything of it away. */
  readonly fingerprint: string;
  readonly #secret: Buffer;

  /** @param secret 32 bytes. */
  constructor(secret: Uint8Array) {
    if (secret.length !== NETWORK_KEY_BYTES) throw new RangeError('a network key has 32 bytes');
    this.#secret = Buffer.from(secret);
    this.fingerprint = createHash('sha256')
      .update('damselfly network key fingerprint\0')
      .update(this.#secret)
      .digest('hex')
      .slice(0, 12);
  }

  static generate(): NetworkKey {
    return new NetworkKey(randomBytes(NETWORK_KEY_BYTES));
  }

  /** Stands in where `peer.insecure` is set and no key is. */
  static insecure(): NetworkKey {
    return new NetworkKey(createHash('sha256').update(INSECURE_SEED).digest());
  }

  /** The block of a key file: also what libp2p's pnet takes as its `psk`. A secret. */
  toBlock(): string {
    return `${KEY_HEADER}\n${KEY_ENCODING}\n${this.#secret.toString('hex')}\n`;
  }

  /** HMAC-SHA256 under this key, 32 bytes. */
  mac(message: Uint8Array): Buffer {
    return createHmac('sha256', this.#secret).update(message).digest();
  }

  equals(other: NetworkKey): boolean {
    return this.#secret.equals(other.#secret);
  }

  toString(): string {
    return `[network key ${this.fingerprint}]`;
  }

  toJSON(): string {
    return this.toString();
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/** Exactly the contents of a fresh network key file. */
export function generateKeyFile(): string {
  return NetworkKey.generate().toBlock();
}
