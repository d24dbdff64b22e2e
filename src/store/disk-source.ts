import { pieceAt, SEGMENT_PIECES, segmentOfPiece } from '../blob/piece.ts';
import type { BlobAddress, OpenedRead, OpenOptions, PieceSource } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import { DamselflyError } from '../errors.ts';
import type { Catalog } from './catalog.ts';
import { DiskRead, type DiskReadParts, spanWithin } from './disk-read.ts';
import { probeRead } from './read-probe.ts';
import type { Segment } from './segment.ts';

/** Reads from the segment files. A disk in trouble is the same as a piece that is not here. */
export class DiskSource implements PieceSource {
  readonly name = 'disk';
  readonly #catalog: Catalog;
  readonly #parts: DiskReadParts;

  constructor(catalog: Catalog, parts: DiskReadParts) {
    this.#catalog = catalog;
    this.#parts = parts;
  }

  open(blob: BlobAddress, span: Span, options: OpenOptions): OpenedRead | null | Promise<OpenedRead | null> {
    options.signal.throwIfAborted();
    const entry = this.#catalog.find(blob.digest);
    refuseOutside(span, entry?.info.size ?? blob.size);
    if (entry === undefined || (blob.size !== undefined && blob.size !== entry.info.size)) return null;
    const segment = entry.segments.get(segmentOfPiece(pieceAt(span.start)));
    if (segment === undefined) return null;
    const first = 1 << (pieceAt(span.start) % SEGMENT_PIECES);
    if ((segment.present & first) === 0) return null;
    this.#catalog.touch(segment);
    const trusted = this.#trusted(segment) & segment.present;
    // What has yet to be checked is opened piece by piece: a damaged piece is then a miss, and not a broken read.
    const part = spanWithin(segment, (trusted & first) === 0 ? first : trusted, span);
    const read = new DiskRead(this.#parts, segment, part, span.end > part.end, options.signal);
    if (!this.#isWarm(segment, trusted & first, span.start)) return this.#openCold(read);
    this.#probe(segment, pieceAt(span.start) % SEGMENT_PIECES);
    return read;
  }

  #trusted(segment: Segment): number {
    const { file } = segment;
    return file === null ? segment.verified : this.#parts.verifier.trusted(segment, file);
  }

  /** Whether the first bytes can leave with no disk being waited for. */
  #isWarm(segment: Segment, trusted: number, start: number): boolean {
    if (trusted === 0 || segment.file === null) return false;
    return this.#parts.residency.has(segment, pieceAt(start) % SEGMENT_PIECES);
  }

  /** A warm read says nothing of the disk: while it is at fault, one that is due is tried in the background. */
  #probe(segment: Segment, slot: number): void {
    const { health, gate } = this.#parts;
    if (health.faultIn('read') === null || gate.isFull || health.refuses('read') !== null) return;
    void probeRead(this.#parts, segment, slot);
  }

  async #openCold(read: DiskRead): Promise<OpenedRead | null> {
    if (this.#parts.gate.isFull || this.#parts.health.refuses('read') !== null) {
      read.close();
      return null;
    }
    return (await read.prime()) ? read : null;
  }
}

/** @param size bytes of the blob; undefined while nobody knows. */
export function refuseOutside(span: Span, size: number | undefined): void {
  if (size === undefined || span.start < size) return;
  throw new DamselflyError(
    'range-not-satisfiable',
    `The range starts at ${span.start}, and the blob has ${size} bytes`,
    { facts: { start: span.start, size } },
  );
}
