import type { BlobAddress, OpenedRead, OpenOptions, PieceSource, SourceName } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';

export interface NearRead {
  readonly source: SourceName;
  readonly opened: OpenedRead;
}

/** Asks the sources on this node, nearest first; awaits only where a disk is touched. */
export async function openNear(
  sources: readonly PieceSource[],
  blob: BlobAddress,
  span: Span,
  options: OpenOptions,
): Promise<NearRead | null> {
  for (const source of sources) {
    const result = source.open(blob, span, options);
    const opened = result instanceof Promise ? await result : result;
    if (opened !== null) return { source: source.name, opened };
  }
  return null;
}
