import { createHash, type Hash } from 'node:crypto';

/** A blob's name, `algorithm:hex`, checked by {@link parseDigest}: safe to use in a path or a header. */
export type Digest = string & { readonly __digest: unique symbol };

/** The registered algorithms of the OCI image specification ("Digests") that we can verify, with their hex lengths. */
const HEX_LENGTHS: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

/**
 * Reads a digest as a registry path spells it.
 * @returns null when the algorithm is not one that we can verify, or the hex is malformed (upper case included).
 */
export function parseDigest(text: string): Digest | null {
  const colon = text.indexOf(':');
  if (colon < 0) return null;
  const hexLength = HEX_LENGTHS[text.slice(0, colon)];
  const hex = text.slice(colon + 1);
  if (hexLength === undefined || hex.length !== hexLength || !/^[0-9a-f]+$/.test(hex)) return null;
  return text as Digest;
}

export function digestAlgorithm(digest: Digest): string {
  return digest.slice(0, digest.indexOf(':'));
}

/** The part after the colon: the task id of Dragonfly's headers, and the name on disk. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** A running hash of the digest's own algorithm. */
export function blobHash(digest: Digest): Hash {
  return createHash(digestAlgorithm(digest));
}

/** The sha256 digest of bytes at hand. */
export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** The digest of bytes in the algorithm of `said` (sha256 when nothing was said); null when it is another one than `said`. */
export function checkedDigest(bytes: Uint8Array, said: Digest | null): Digest | null {
  if (said === null) return digestOf(bytes);
  const found = `${digestAlgorithm(said)}:${blobHash(said).update(bytes).digest('hex')}`;
  return found === said ? said : null;
}
