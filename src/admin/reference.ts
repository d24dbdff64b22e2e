import { type Digest, parseDigest } from '../blob/digest.ts';
import { DamselflyError } from '../errors.ts';

/** What a person names on the command line: an image, or one blob. */
export type Reference =
  | {
      readonly kind: 'image';
      /** A host, with its port if one was written, or `scheme://host` from a URL. */
      readonly registry: string;
      readonly repository: string;
      /** Tag or digest. */
      readonly reference: string;
    }
  | {
      readonly kind: 'blob';
      readonly registry: string;
      readonly repository: string;
      readonly digest: Digest;
    };

/** distribution-spec, "Pulling manifests". */
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const MAX_REPOSITORY_CHARS = 255;

/** Where `alpine` means `library/alpine`. */
const DOCKER_HUB: ReadonlySet<string> = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

/**
 * `host/repo:tag`, `host/repo@digest`, `oci://…`, a short name of Docker Hub (`alpine`, `team/app:1`), or the URL of a
 * blob or manifest. A digest beside a tag wins.
 * @throws DamselflyError reference-malformed.
 */
export function parseReference(text: string): Reference {
  const found = /^https?:\/\//i.test(text) ? fromUrl(text) : fromName(text.replace(/^oci:\/\//i, ''));
  if (found === undefined) throw malformed(text);
  return found;
}

function fromUrl(text: string): Reference | undefined {
  const [, registry, repository, folder, name = ''] =
    /^(https?:\/\/[^/?#@\s]+)\/v2\/([^?#]+)\/(blobs|manifests)\/([^/?#]+)$/i.exec(text) ?? [];
  if (registry === undefined || repository === undefined || !isRepository(repository)) return undefined;
  const digest = parseDigest(name);
  if (folder === 'blobs') {
    return digest === null ? undefined : { kind: 'blob', registry, repository, digest };
  }
  if (digest === null && !TAG.test(name)) return undefined;
  return { kind: 'image', registry, repository, reference: name };
}

function fromName(text: string): Reference | undefined {
  const slash = text.indexOf('/');
  const first = slash < 0 ? '' : text.slice(0, slash);
  const hasHost = /[.:]/.test(first) || first === 'localhost';
  if (hasHost && !/^[\w.:[\]-]+$/.test(first)) return undefined;
  const registry = hasHost ? first.toLowerCase() : 'docker.io';
  const rest = hasHost ? text.slice(slash + 1) : text;
  const [, path = '', tag, digestText] = /^([^:@]+)(?::([^:@]+))?(?:@([^@]+))?$/.exec(rest) ?? [];
  const repository = DOCKER_HUB.has(registry) && !path.includes('/') ? `library/${path}` : path;
  if (!isRepository(repository) || (tag !== undefined && !TAG.test(tag))) return undefined;
  if (digestText === undefined) return { kind: 'image', registry, repository, reference: tag ?? 'latest' };
  const digest = parseDigest(digestText);
  return digest === null ? undefined : { kind: 'image', registry, repository, reference: digest };
}

function isRepository(text: string): boolean {
  return text.length <= MAX_REPOSITORY_CHARS && REPOSITORY.test(text);
}

/** User info and query may be secrets: they are not repeated. */
function malformed(text: string): DamselflyError {
  const shown = text
    .replace(/[?#].*$/s, '')
    .replace(/^(\w+:\/\/)?[^/@]*:[^/@]*@(?=[^/]*\/)/, '$1')
    .slice(0, 200);
  return new DamselflyError(
    'reference-malformed',
    `"${shown}" names no image or blob: write host/repository:tag, host/repository@sha256:…, or the URL of a blob or manifest`,
  );
}
