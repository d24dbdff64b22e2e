import { randomInt } from 'node:crypto';
import type { KnownBlob, OpenedRead, PieceSource } from '../blob/source.ts';
import { type Span, spanLength } from '../blob/span.ts';
import type { Upstream } from '../blob/upstream.ts';
import { Urgency } from '../blob/urgency.ts';
import { collect } from '../content/collect.ts';
import type { Content } from '../content/content.ts';
import { trimmed } from './trimmed.ts';

/** Blobs up to this size are compared whole, longer ones at {@link SAMPLES} places that nobody can foresee. */
const SAMPLE_BYTES = 16 * 1024;
const SAMPLES = 4;

/**
 * Whether an origin has the bytes of a finished blob that came from another: it is read at random places with the
 * requester's own credential and compared. Who only claims to have the blob cannot answer.
 * @throws OriginRefusal: the requester's rights are the origin's matter; DamselflyError.
 */
export async function hasSameBytes(
  source: PieceSource,
  content: Content,
  blob: KnownBlob,
  upstream: Upstream,
  signal: AbortSignal,
): Promise<boolean> {
  const theirs = await Promise.all(
    samplesOf(blob.size).map((span) => sample(source, blob, span, upstream, signal)),
  );
  for (const { span, bytes } of theirs) {
    if (bytes === null) return false;
    const context = { upstream, urgency: 'demand' as const, signal };
    const chunks = content.read(blob, span, context, { whole: false, open: false });
    if (!bytes.equals(await collect({ chunks }, span))) return false;
  }
  return true;
}

async function sample(
  source: PieceSource,
  blob: KnownBlob,
  span: Span,
  upstream: Upstream,
  signal: AbortSignal,
): Promise<{ span: Span; bytes: Buffer | null }> {
  const options = { signal, urgency: new Urgency('demand'), upstream, isCheck: true };
  // Its own word for the size is asked for: ours is what is to be compared.
  const opened: OpenedRead | null = await source.open(
    { digest: blob.digest, size: undefined },
    span,
    options,
  );
  if (opened === null) return { span, bytes: null };
  try {
    if (opened.info.size !== blob.size || opened.span.end < span.end) return { span, bytes: null };
    return { span, bytes: await collect({ chunks: trimmed(opened, span) }, span) };
  } finally {
    opened.close();
  }
}

function samplesOf(size: number): Span[] {
  if (size <= SAMPLE_BYTES) return [{ start: 0, end: size }].filter((span) => spanLength(span) > 0);
  return Array.from({ length: SAMPLES }, () => {
    const start = randomInt(size - SAMPLE_BYTES + 1);
    return { start, end: start + SAMPLE_BYTES };
  });
}
