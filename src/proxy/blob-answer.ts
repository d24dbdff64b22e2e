import type { Digest } from '../blob/digest.ts';
import type { BlobInfo, Chunk, SourceName } from '../blob/source.ts';
import { type Span, spanLength } from '../blob/span.ts';
import { DamselflyError } from '../errors.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { BlobQuery } from './blob-query.ts';
import { type BodyWriter, CLIENT_IDLE_TIMEOUT_MS } from './body-writer.ts';
import { type Call, PLAIN_HEAD_MS } from './call.ts';
import { type BlobHead, blobHeaders, safeMediaType, unsatisfiableHeaders } from './headers.ts';
import { frameMultipart, multipartBody } from './multipart.ts';

/** No body stalls longer on our side (containerd waits for ever on one that does). */
const STALL_MS = 4_000;
/** A ranged read of at most {@link SHORT_READ_BYTES} is over, one way or the other, this long after its request. */
const SHORT_READ_MS = 4_500;
const SHORT_READ_BYTES = 4 * 1024 * 1024;

export interface BlobBody {
  readonly query: BlobQuery;
  readonly info: BlobInfo;
  /** None for the whole blob. */
  readonly spans: readonly Span[];
  open(span: Span): AsyncIterable<Chunk>;
  /** Of the first chunk, once it is there. */
  source(): SourceName | undefined;
  isFinished(): boolean;
  /** The first chunk is there. @param single the span of an answer with one range. */
  onHead?(single: Span | undefined): void;
}

/** Sends what was asked for of a blob: whole, one range, or several as multipart/byteranges. */
export class BlobAnswer {
  readonly #metrics: Metrics;
  readonly #writeBody: BodyWriter;

  constructor(parts: { metrics: Metrics; writeBody: BodyWriter }) {
    this.#metrics = parts.metrics;
    this.#writeBody = parts.writeBody;
  }

  /** @throws what the source failed with, as long as no head was sent. */
  async send(call: Call, body: BlobBody): Promise<void> {
    const { query, info, spans } = body;
    const metrics = this.#metrics;
    const isMultipart = spans.length > 1;
    const single = isMultipart ? undefined : spans[0];
    const wanted = single ?? { start: 0, end: info.size };
    const framing = isMultipart
      ? frameMultipart(spans, { size: info.size, mediaType: safeMediaType(info.mediaType) })
      : null;
    const length = framing?.length ?? spanLength(wanted);
    const isShort = spans.length > 0 && length <= SHORT_READ_BYTES;
    const chunks =
      framing === null ? body.open(wanted) : multipartBody(framing, spans, (span) => body.open(span));
    const result = await this.#writeBody(call.response, chunks, {
      length,
      writeHead: () => {
        body.onHead?.(single);
        const head: BlobHead = {
          ...common(query, info),
          length,
          source: body.source() ?? 'origin',
          complete: body.isFinished(),
          ...(framing === null ? {} : { mediaType: framing.contentType }),
          ...(single === undefined ? {} : { part: { span: single, size: info.size } }),
        };
        call.writeHead(spans.length === 0 ? 200 : 206, blobHeaders(head));
        metrics.headSeconds.observe({ client: call.client }, call.elapsedMs / 1000);
        for (const span of spans) metrics.rangeBytes.observe(spanLength(span));
      },
      signal: call.signal,
      firstChunkTimeoutMs: PLAIN_HEAD_MS,
      stallTimeoutMs: STALL_MS,
      deadlineMs: isShort ? call.startedMs + SHORT_READ_MS : undefined,
      clientIdleTimeoutMs: CLIENT_IDLE_TIMEOUT_MS,
    });
    metrics.requested.inc({ client: call.client }, result.bytes);
    if (result.outcome === 'client-gone') call.end('aborted');
    else if (result.outcome !== 'sent' && !result.headSent) throw result.error;
    else if (result.outcome !== 'sent') call.fail(result.error, query.upstream);
  }
}

/** The answer to a HEAD. */
export function answerHead(call: Call, query: BlobQuery, info: BlobInfo): void {
  call.writeHead(200, blobHeaders({ ...common(query, info), length: info.size }));
  call.response.end();
}

export function answerUnsatisfiable(call: Call, digest: Digest, size: number): void {
  call.writeHead(416, unsatisfiableHeaders(digest, size));
  call.end('refused');
  call.response.end();
}

export function tooManyRanges(size: number): DamselflyError {
  return new DamselflyError(
    'too-many-ranges',
    'At most 64 ranges, together no longer than the blob: ask for fewer',
    {
      facts: { size },
    },
  );
}

function common({ upstream, digest, namespace }: BlobQuery, info: BlobInfo): Omit<BlobHead, 'length'> {
  return { digest, namespace, mediaType: info.mediaType, acceptRanges: upstream.kind === 'blob' };
}
