import { type Digest, parseDigest } from '../blob/digest.ts';
import { DamselflyError } from '../errors.ts';

/** What a person names on the command line: an image, or one blob. */
export type Reference =
  | {
      readonly kind: 'image';
      readonly registry: string;
      readonly repository: string;
      readonly reference: string;
    }
  | {
      readonly kind: 'blob';
      readonly registry: string;
      readonly repository: string;
      readonly digest: Digest;
    };

const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;

/**
 * `host/repo:tag`, `host/repo@digest`, `oci://…`, a short name of Docker Hub (`alpine`, `team/app:1`), or the URL of a
 * blob or manifest.
 * @throws DamselflyError reference-malformed.
 */
export function parseReference(text: string): Reference {
  const url = /^(https?:\/\/[^/?#@]+)\/v2\/([^?#]+)\/(blobs|manifests)\/([^/?#]+)$/i.exec(text);
  if (url !== null) {
    const [, registry = '', repository = '', folder, name = ''] = url;
    const digest = parseDigest(name);
    if (REPOSITORY.test(repository) && folder === 'blobs' && digest !== null)
      return { kind: 'blob', registry, repository, digest };
    if (REPOSITORY.test(repository) && folder === 'manifests' && (digest !== null || TAG.test(name)))
      return { kind: 'image', registry, repository, reference: name };
    throw malformed(text);
  }
  const short = text.replace(/^oci:\/\//, '');
  if (short.includes('://')) throw malformed(text);
  const slash = short.indexOf('/');
  const first = slash < 0 ? '' : short.slice(0, slash);
  const hasHost = first.includes('.') || first.includes(':') || first === 'localhost';
  const registry = hasHost ? first : 'docker.io';
  const [named = '', digestText] = (hasHost ? short.slice(slash + 1) : short).split('@', 2);
  const colon = named.lastIndexOf(':');
  const name = colon < 0 ? named : named.slice(0, colon);
  const tag = colon < 0 ? 'latest' : named.slice(colon + 1);
  const repository = !hasHost && !name.includes('/') ? `library/${name}` : name;
  const digest = digestText === undefined ? null : parseDigest(digestText);
  if (!REPOSITORY.test(repository) || (digestText === undefined ? !TAG.test(tag) : digest === null))
    throw malformed(text);
  return { kind: 'image', registry, repository, reference: digest ?? tag };
}

function malformed(text: string): DamselflyError {
  const shown = text.replace(/[?#].*$/s, '').slice(0, 200);
  return new DamselflyError(
    'reference-malformed',
    `"${shown}" names no image or blob: write host/repository:tag, host/repository@sha256:…, or the URL of a blob or manifest`,
  );
}
