import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import type { Ed25519PrivateKey } from '@libp2p/interface';
import type { PeerId } from '../member.ts';
import { peerIdOf } from './peer-id.ts';

/** A node's Ed25519 key and the name that follows from it. The key itself never leaves this object but to libp2p. */
export class Identity {
  readonly id: PeerId;
  readonly #key: KeyObject;
  /** Seed and public key, as libp2p takes them. */
  readonly #raw: Uint8Array;

  private constructor(key: KeyObject) {
    const { d, x } = key.export({ format: 'jwk' });
    const publicKey = Buffer.from(x ?? '', 'base64url');
    this.#key = key;
    this.#raw = Buffer.concat([Buffer.from(d ?? '', 'base64url'), publicKey]);
    this.id = peerIdOf(publicKey);
  }

  static generate(): Identity {
    return new Identity(generateKeyPairSync('ed25519').privateKey);
  }

  /**
   * @param pem PKCS #8, as {@link toPem} writes it.
   * @throws Error when it is no Ed25519 private key.
   */
  static fromPem(pem: string): Identity {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType !== 'ed25519') throw new Error(`a key of type ${key.asymmetricKeyType}`);
    return new Identity(key);
  }

  toPem(): string {
    return this.#key.export({ format: 'pem', type: 'pkcs8' }).toString();
  }

  /** Ed25519, 64 bytes; what is signed has to say what it is for. */
  sign(bytes: Uint8Array): Uint8Array {
    return sign(null, bytes, this.#key);
  }

  /** For libp2p's own node. */
  libp2pKey(): Ed25519PrivateKey {
    const key = privateKeyFromRaw(this.#raw);
    if (key.type !== 'Ed25519') throw new Error('the raw form of an Ed25519 key was taken for another kind');
    return key;
  }

  toJSON(): string {
    return this.id;
  }
}
