import { pieceAt, segmentOfPiece } from '../blob/piece.ts';
import type { BlobAddress, OpenedRead, OpenOptions, PieceSource } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import { DamselflyError } from '../errors.ts';
import type { Catalog } from './catalog.ts';
import { DiskRead, type DiskReadParts, isEmpty, presentSpan } from './disk-read.ts';

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
    const present = presentSpan(segment, span);
    if (isEmpty(present)) return null;
    this.#catalog.touch(segment);
    const read = new DiskRead(this.#parts, segment, present, options.signal);
    return read.isWarm ? read : this.#openCold(read);
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
