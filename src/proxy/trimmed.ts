import type { Chunk, OpenedRead } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';

/** The bytes of `span` of an opened read that may deliver more around it: an origin that ignores Range starts at 0. */
export async function* trimmed(opened: OpenedRead, span: Span): AsyncGenerator<Chunk, void, void> {
  let offset = opened.span.start;
  for await (const chunk of opened.chunks) {
    if (!(chunk instanceof Uint8Array)) throw new TypeError('a far source delivers bytes, not files');
    const from = Math.max(span.start - offset, 0);
    const to = Math.min(span.end - offset, chunk.length);
    if (from < to) yield chunk.subarray(from, to);
    offset += chunk.length;
    if (offset >= span.end) return;
  }
}
