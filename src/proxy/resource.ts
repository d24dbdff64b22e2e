import type { Digest } from '../blob/digest.ts';
import { parseDigest } from '../blob/digest.ts';

/** What a path means at a registry. Whatever is not known for sure is `other`: it is passed on as it is. */
export type Resource =
  | { readonly kind: 'base' }
  | { readonly kind: 'blob'; readonly repository: string; readonly digest: Digest }
  | {
      readonly kind: 'manifest';
      readonly repository: string;
      /** Tag or digest, as written. */
      readonly reference: string;
      /** Null for a tag, and for a digest that we cannot verify. */
      readonly digest: Digest | null;
    }
  /** Tags and referrers: documents that change, and that are never asked for in part. */
  | { readonly kind: 'listing' }
  | { readonly kind: 'other' };

const OTHER = { kind: 'other' } as const;
const BASE = { kind: 'base' } as const;
const LISTING = { kind: 'listing' } as const;

/** Registries limit host and repository together to 255 characters (distribution-spec, "Pulling manifests"). */
const MAX_REPOSITORY_LENGTH = 255;
/** `<name>` of the distribution specification. */
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
/** `<reference>` of the distribution specification, when it is a tag. */
const TAG = /^\w[\w.-]{0,127}$/;
/** `<digest>` of the image specification, of whatever algorithm. */
const ANY_DIGEST = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[\w=-]{1,256}$/;

/** `name` of `/v2/<name>/…`, if it is one: an encoded slash or dot, an upper-case letter or an empty part is not. */
export function isRepository(name: string): boolean {
  return name.length <= MAX_REPOSITORY_LENGTH && REPOSITORY.test(name);
}

/**
 * Reads a path without its query. Nothing is decoded or normalised: a path that means a blob only after that is passed
 * to the origin, which decides with the requester's own credential what it means.
 */
export function parseResource(path: string): Resource {
  if (!path.startsWith('/v2/')) return OTHER;
  if (path.length === 4) return BASE;
  const last = path.lastIndexOf('/');
  const before = path.lastIndexOf('/', last - 1);
  if (before <= 3) return OTHER;
  const repository = path.slice(4, before);
  const verb = path.slice(before + 1, last);
  const name = path.slice(last + 1);
  if (verb === 'blobs') {
    const digest = parseDigest(name);
    return digest !== null && isRepository(repository) ? { kind: 'blob', repository, digest } : OTHER;
  }
  if (verb === 'manifests' && isRepository(repository)) {
    const digest = parseDigest(name);
    if (digest !== null || TAG.test(name) || ANY_DIGEST.test(name))
      return { kind: 'manifest', repository, reference: name, digest };
  }
  if ((verb === 'tags' && name === 'list') || (verb === 'referrers' && ANY_DIGEST.test(name)))
    return isRepository(repository) ? LISTING : OTHER;
  return OTHER;
}
