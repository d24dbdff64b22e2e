import type { BlobOwners } from '../access/blob-owners.ts';
import type { Digest } from '../blob/digest.ts';
import { PIECE_BYTES } from '../blob/piece.ts';
import type { BlobCatalog, BlobInfo, SourceName } from '../blob/source.ts';
import type { OriginId, Upstream } from '../blob/upstream.ts';
import { collect } from '../content/collect.ts';
import type { Content } from '../content/content.ts';
import { parseContentLength } from '../origin/content-range.ts';
import type { HeadAnswer } from '../origin/origin-client.ts';
import { DEFAULT_MEDIA_TYPE, safeMediaType } from './headers.ts';

export interface SharedManifestsParts {
  readonly content: Content;
  readonly owners: BlobOwners;
  readonly catalog: Pick<BlobCatalog, 'record'>;
  /** Whether other nodes may have what this origin owns. */
  readonly isShared: (origin: OriginId) => boolean;
}

export interface SharedManifest {
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly source: SourceName;
}

/**
 * Manifests as blobs of one piece: a node that has one gives it to the others, and of those that have not, one reads it from
 * the origin under a lease. The requester's own HEAD goes before: it says that this requester may, what kind of manifest it
 * is, and how long. So a registry that counts GETs of manifests counts one for all nodes.
 */
export class SharedManifests {
  readonly #parts: SharedManifestsParts;

  constructor(parts: SharedManifestsParts) {
    this.#parts = parts;
  }

  /** Whether it makes sense to ask the origin for a head before anything else. */
  isShared({ origin }: Upstream): boolean {
    return this.#parts.isShared(origin);
  }

  /**
   * @param head the origin's answer to a HEAD with this requester's credential.
   * @returns undefined where it has to be read from the origin as if there were nobody else; whatever was wrong, the
   *   origin's answer to a GET says it, or is right.
   */
  async read(
    upstream: Upstream,
    digest: Digest,
    head: HeadAnswer,
    signal: AbortSignal,
  ): Promise<SharedManifest | undefined> {
    const { content, owners, catalog } = this.#parts;
    const info = infoOf(head);
    if (info === undefined || !this.isShared(upstream)) return undefined;
    const standing = owners.standing(upstream.origin, digest, content.isAnywhere(digest));
    if (standing === 'foreign') return undefined;
    if (standing === 'free') {
      // A size that another origin told is no better than its bytes.
      content.forget(digest);
      owners.claim(upstream.origin, digest);
    }
    if (!catalog.record(digest, info)) return undefined;
    let source: SourceName | undefined;
    const context = {
      ...{ upstream, signal, urgency: 'demand' as const },
      onChunk: (from: SourceName): void => {
        source ??= from;
      },
    };
    const span = { start: 0, end: info.size };
    try {
      const chunks = content.read({ digest, size: info.size }, span, context, { whole: true, open: true });
      const bytes = await collect({ chunks }, span);
      return { bytes, mediaType: info.mediaType, source: source ?? 'origin' };
    } catch {
      signal.throwIfAborted();
      return undefined;
    }
  }
}

/** Undefined when the head does not say all that is needed, or the manifest is none of those that are kept. */
function infoOf(head: HeadAnswer): (BlobInfo & { readonly mediaType: string }) | undefined {
  if (head.status !== 200 || head.viaGet || head.header('content-encoding') !== undefined) return undefined;
  const size = parseContentLength(head.header('content-length'));
  const mediaType = safeMediaType(head.header('content-type'));
  if (size === undefined || size === 0 || size > PIECE_BYTES || mediaType === DEFAULT_MEDIA_TYPE)
    return undefined;
  return { size, mediaType };
}
