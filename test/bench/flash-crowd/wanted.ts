import { pieceAt, pieceLength } from '../../../src/blob/piece.ts';
import type { Span } from '../../../src/blob/span.ts';
import { type Trace, traceSpan } from '../../support/trace.ts';

/** What each node of a crowd reads of one blob. */
export interface Wanted {
  readonly blobBytes: number;
  /** See `ReadJob.lanes`. */
  readonly lanes: readonly (readonly (Span | null)[])[];
  /** Bytes of the answers. */
  readonly answerBytes: number;
  /** Bytes of the pieces that they touch, each once: what a node cannot do without. */
  readonly pieceBytes: number;
}

export function wholeBlob(blobBytes: number): Wanted {
  return { blobBytes, lanes: [[null]], answerBytes: blobBytes, pieceBytes: blobBytes };
}

/**
 * The ranges of a recorded client, without its pauses: those of one connection after another, all connections at once.
 * @param maxReads only the first so many.
 */
export function replay(trace: Trace, maxReads = Number.POSITIVE_INFINITY): Wanted {
  const { blobSize } = trace;
  const reads = trace.requests
    .filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'))
    .slice(0, maxReads);
  if (
    reads.length === 0 ||
    reads.some((read) => typeof read.range?.[1] !== 'number' || read.ranges !== undefined)
  )
    throw new Error('only a trace whose requests ask for one closed range each can be replayed here');
  const lanes = Map.groupBy(reads, ({ connection }) => connection);
  const spans = reads.map((read) => traceSpan(read, blobSize));
  return {
    blobBytes: blobSize,
    lanes: [...lanes.values()].map((lane) => lane.map((read) => traceSpan(read, blobSize))),
    answerBytes: spans.reduce((sum, { end, start }) => sum + end - start, 0),
    pieceBytes: touchedBytes(spans, blobSize),
  };
}

function touchedBytes(spans: readonly Span[], blobSize: number): number {
  const touched = new Set<number>();
  for (const { end, start } of spans) {
    for (let piece = pieceAt(start); piece <= pieceAt(end - 1); piece += 1) touched.add(piece);
  }
  return [...touched].reduce((sum, piece) => sum + pieceLength(piece, blobSize), 0);
}
