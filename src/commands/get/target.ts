import { parseReference } from '../../admin/reference.ts';
import { type Digest, parseDigest } from '../../blob/digest.ts';
import type { OriginId } from '../../blob/upstream.ts';
import { DamselflyError } from '../../errors.ts';

/** Something of a registry: `/v2/<repository>/<kind>/<reference>`. */
export interface RegistryTarget {
  readonly kind: 'registry';
  /** By the scheme that the user wrote. */
  readonly origin: OriginId;
  readonly repository: string;
  /** Path and query, as they were written. */
  readonly path: string;
  readonly digest: Digest | undefined;
}

/** Any other URL. */
export interface ObjectTarget {
  readonly kind: 'object';
  readonly url: URL;
}

/** An image reference, still to be resolved to one layer. */
export interface ImageTarget {
  readonly kind: 'image';
  /** `host[:port]`, as it was written. */
  readonly host: string;
  readonly repository: string;
  /** A tag, or the digest of a manifest or of a layer. */
  readonly reference: string;
}

export type Target = RegistryTarget | ObjectTarget | ImageTarget;

const REGISTRY_PATH = /^\/v2\/(.+)\/(?:blobs|manifests)\/([^/]+)$/;

/**
 * Reads what `get` is to download. User information of a URL is left in it: the caller takes it out.
 * @throws DamselflyError reference-malformed.
 */
export function parseTarget(text: string): Target {
  if (/^oci:\/\//i.test(text)) return imageTarget(text);
  if (!/^https?:\/\//i.test(text)) {
    const hint = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? 'this scheme is not supported' : 'it is no URL';
    throw malformed(`${withoutSecrets(text)}: ${hint}`);
  }
  const url = URL.parse(text);
  if (url === null) throw malformed(`${withoutSecrets(text)}: the URL cannot be understood`);
  url.hash = '';
  const match = REGISTRY_PATH.exec(url.pathname);
  if (match === null) return { kind: 'object', url };
  const [, repository = '', reference = ''] = match;
  const digest = parseDigest(decodeURIComponent(reference)) ?? undefined;
  if (digest === undefined && url.pathname.includes('/blobs/'))
    throw malformed(`${withoutSecrets(text)}: a blob's URL ends in a digest such as sha256:<64 hex digits>`);
  return {
    kind: 'registry',
    origin: url.origin as OriginId,
    repository,
    path: url.pathname + url.search,
    digest,
  };
}

/** As `prefetch` reads a reference; Docker Hub's one-word names are those of its `library`. */
function imageTarget(text: string): ImageTarget {
  const { registry, repository, ...rest } = parseReference(text);
  if (rest.kind === 'blob')
    throw malformed(`${withoutSecrets(text)}: an oci:// reference is no URL of a blob`);
  const isHub = /^(?:index\.)?docker\.io$/i.test(registry);
  const name = isHub && !repository.includes('/') ? `library/${repository}` : repository;
  return { kind: 'image', host: registry, repository: name, reference: rest.reference };
}

/** A URL as it may be shown: no user, no query. */
export function withoutSecrets(text: string): string {
  return text.replace(/\/\/[^/?#@]*@/, '//').replace(/[?#].*$/s, '');
}

function malformed(message: string): DamselflyError {
  return new DamselflyError(
    'reference-malformed',
    `${message}. Give an http:// or https:// URL, or an oci://HOST/REPOSITORY@DIGEST reference`,
  );
}
