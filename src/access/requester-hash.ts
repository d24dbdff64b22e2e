import { createHmac } from 'node:crypto';
import { LRUCache } from 'lru-cache';

/** Credentials in use at once on one node; a hash costs microseconds, so a miss is cheap. */
const MAX_REMEMBERED = 512;
/** How long a credential's text outlives the request that brought it. */
const REMEMBERED_MS = 60_000;

/**
 * The keyed hash under which rights are remembered: HMAC-SHA256 over origin, repository and credential, so that
 * neither the index nor a heap dump of the rights tells a credential, and nobody without the key can test a guess.
 *
 * Warm hits look the hash up by the credential's own text. That text is in memory anyway while its connection is
 * open; here it is dropped a minute after it was last hashed, by a timer and not only when room is needed.
 */
export class RequesterHash {
  readonly #key: Uint8Array;
  readonly #remembered = new LRUCache<string, string>({
    max: MAX_REMEMBERED,
    ttl: REMEMBERED_MS,
    ttlAutopurge: true,
    ttlResolution: 1000,
  });

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** @param secret of the credential, or the word for the node's own. */
  of(origin: string, repository: string, secret: string): string {
    const text = `${origin}\n${repository}\n${secret}`;
    const known = this.#remembered.get(text);
    if (known !== undefined) return known;
    const hash = createHmac('sha256', this.#key).update(text).digest('base64url');
    this.#remembered.set(text, hash);
    return hash;
  }

  /** Drops every credential's text now. */
  clear(): void {
    this.#remembered.clear();
  }
}
