import type { BlobOwners } from '../access/blob-owners.ts';
import { blobHash } from '../blob/digest.ts';
import type { BlobInfo, Chunk, KnownBlob, OpenedRead, PieceSource } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import type { Upstream } from '../blob/upstream.ts';
import { Urgency } from '../blob/urgency.ts';
import type { Content } from '../content/content.ts';
import { DamselflyError } from '../errors.ts';
import type { Metrics } from '../observe/metrics.ts';
import { answerHead, answerUnsatisfiable, type BlobAnswer, tooManyRanges } from './blob-answer.ts';
import type { BlobQuery } from './blob-query.ts';
import type { BlobSizes } from './blob-sizes.ts';
import type { Call } from './call.ts';
import { hasSameBytes } from './possession.ts';
import { type RangeRequest, resolveRange } from './range.ts';
import { trimmed } from './trimmed.ts';
import { wantedBytes } from './wanted.ts';

export interface BypassParts {
  readonly source: PieceSource;
  readonly sizes: BlobSizes;
  readonly owners: BlobOwners;
  readonly answer: BlobAnswer;
  readonly metrics: Metrics;
}

/**
 * Reads a blob from its origin past the cache, since what is here under its digest came from another origin and is not
 * finished: nothing of it is kept, and nobody else's bytes are used.
 */
export class BypassRoute {
  readonly #parts: BypassParts;

  constructor(parts: BypassParts) {
    this.#parts = parts;
  }

  /** See {@link hasSameBytes}. */
  hasSameBytes(content: Content, blob: KnownBlob, upstream: Upstream, signal: AbortSignal): Promise<boolean> {
    return hasSameBytes(this.#parts.source, content, blob, upstream, signal);
  }

  /** @throws OriginRefusal of the requester's origin; DamselflyError. */
  async handle(call: Call, query: BlobQuery, range: RangeRequest): Promise<void> {
    const { sizes, answer } = this.#parts;
    if (call.isHead)
      return answerHead(call, query, await sizes.look(query.upstream, query.digest, call.signal));
    const wanted = wantedBytes(range);
    const first =
      wanted === null
        ? null
        : await this.#open(call, query, { start: wanted.start, end: wanted.end ?? Number.POSITIVE_INFINITY });
    try {
      const info = first?.info ?? (await sizes.look(query.upstream, query.digest, call.signal));
      const resolved = resolveRange(range, info.size);
      if (resolved.kind === 'unsatisfiable') return answerUnsatisfiable(call, query.digest, info.size);
      if (resolved.kind === 'too-many') throw tooManyRanges(info.size);
      const spans = resolved.kind === 'spans' ? resolved.spans : [];
      const open = (span: Span): AsyncGenerator<Chunk, void, void> =>
        spans.length === 0
          ? this.#whole(first, call, query, info)
          : this.#bytes(first, call, query, span, info.size);
      await answer.send(call, { query, info, spans, open, source: () => 'origin', isFinished: () => false });
    } finally {
      first?.close();
    }
  }

  async #open(call: Call, { upstream, digest }: BlobQuery, span: Span, size?: number): Promise<OpenedRead> {
    const opened = await this.#parts.source.open({ digest, size }, span, {
      signal: call.signal,
      urgency: new Urgency(call.hints.urgency),
      upstream,
      isCheck: true,
    });
    if (opened !== null) return opened;
    throw new DamselflyError('origin-unreachable', 'No source has this blob', { facts: { digest } });
  }

  async *#bytes(
    first: OpenedRead | null,
    call: Call,
    query: BlobQuery,
    span: Span,
    size: number,
  ): AsyncGenerator<Chunk, void, void> {
    const opened = first ?? (await this.#open(call, query, span, size));
    try {
      for await (const chunk of trimmed(opened, span)) {
        this.#parts.metrics.traffic.served('origin', chunk.length);
        yield chunk;
      }
    } finally {
      opened.close();
    }
  }

  /** The last chunk is held back until the digest has matched; the origin has shown then that it has the bytes. */
  async *#whole(
    first: OpenedRead | null,
    call: Call,
    query: BlobQuery,
    info: BlobInfo,
  ): AsyncGenerator<Chunk, void, void> {
    const { digest, upstream } = query;
    const hash = blobHash(digest);
    let last: Chunk | null = null;
    for await (const chunk of this.#bytes(first, call, query, { start: 0, end: info.size }, info.size)) {
      if (chunk instanceof Uint8Array) hash.update(chunk);
      if (last !== null) yield last;
      last = chunk;
    }
    if (!digest.endsWith(`:${hash.digest('hex')}`)) {
      throw new DamselflyError('digest-mismatch', `The bytes that arrived for ${digest} do not match it`, {
        facts: { digest },
      });
    }
    this.#parts.owners.admit(upstream.origin, digest);
    if (last !== null) yield last;
  }
}
