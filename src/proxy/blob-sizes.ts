import type { Digest } from '../blob/digest.ts';
import type { BlobCatalog, BlobInfo, PieceSource } from '../blob/source.ts';
import type { Upstream } from '../blob/upstream.ts';
import { Urgency } from '../blob/urgency.ts';
import { DamselflyError, hasCode } from '../errors.ts';
import { parseContentLength } from '../origin/content-range.ts';
import type { OriginClient } from '../origin/origin-client.ts';

export interface BlobSizesParts {
  readonly origin: Pick<OriginClient, 'head'>;
  readonly source: PieceSource;
  readonly catalog: Pick<BlobCatalog, 'record' | 'describe'>;
}

/** Asks the origin for a blob's size where no read of its bytes tells it: HEAD, suffixes, several ranges. */
export class BlobSizes {
  readonly #parts: BlobSizesParts;

  constructor(parts: BlobSizesParts) {
    this.#parts = parts;
  }

  /** As {@link look}, and remembers the answer. */
  async ask(upstream: Upstream, digest: Digest, signal: AbortSignal): Promise<BlobInfo> {
    const info = await this.look(upstream, digest, signal);
    this.#parts.catalog.record(digest, info);
    return this.#parts.catalog.describe(digest) ?? info;
  }

  /**
   * HEAD first; where its answer has no usable length (signed URLs are often good for GET only) the first byte.
   * @throws OriginRefusal, DamselflyError.
   */
  async look(upstream: Upstream, digest: Digest, signal: AbortSignal): Promise<BlobInfo> {
    return (
      (await this.#byHead(upstream, digest, signal)) ?? (await this.#byFirstByte(upstream, digest, signal))
    );
  }

  async #byHead(upstream: Upstream, digest: Digest, signal: AbortSignal): Promise<BlobInfo | null> {
    const answer = await this.#parts.origin.head(upstream, digest, {
      signal,
      urgency: new Urgency('demand'),
      followRedirects: true,
    });
    if (answer.status !== 200 || answer.header('content-encoding') !== undefined) return null;
    const size = parseContentLength(answer.header('content-length'));
    return size === undefined ? null : { size, mediaType: answer.header('content-type') };
  }

  async #byFirstByte(upstream: Upstream, digest: Digest, signal: AbortSignal): Promise<BlobInfo> {
    try {
      const opened = await this.#parts.source.open(
        { digest, size: undefined },
        { start: 0, end: 1 },
        { signal, urgency: new Urgency('demand'), upstream },
      );
      if (opened === null)
        throw new DamselflyError('origin-unreachable', 'No source has this blob', { facts: { digest } });
      opened.close();
      return opened.info;
    } catch (error) {
      // An empty blob has no first byte; its size comes with the refusal (RFC 9110 §15.5.17).
      if (hasCode(error, 'range-not-satisfiable') && error.facts.size === 0)
        return { size: 0, mediaType: undefined };
      throw error;
    }
  }
}
