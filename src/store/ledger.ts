import type { Footprint } from './index-protocol.ts';

/**
 * What one more file may add to its directory, bytes: its entry (8 + name of up to 160 bytes), half-full blocks after a
 * split (ext4 htree), and the tree's own blocks. Directories grow and never shrink.
 */
const DIRECTORY_ENTRY_BYTES = 384;
/** The identity key and the like, which others may create between two measurements. */
const OTHER_HEADROOM_BYTES = 64 * 1024;

/**
 * The quota's account: allocated bytes of everything under `cache.dir`, with what is about to be written counted
 * before it is. `chargedBytes` is never less than what `du` would say.
 */
export class Ledger {
  readonly maxBytes: number;
  readonly #indexHeadroomBytes: number;
  #indexBytes = 0;
  #otherBytes = 0;
  #directoryBytes = 0;
  #filesAtMeasure = 0;
  #peakFiles = 0;
  #files = 0;
  #segmentBytes = 0;
  #reservedBytes = 0;

  /** @param indexHeadroomBytes what the index may grow by between two of its reports. */
  constructor(maxBytes: number, indexHeadroomBytes: number) {
    this.maxBytes = maxBytes;
    this.#indexHeadroomBytes = indexHeadroomBytes;
  }

  /** Best knowledge of what is allocated. */
  get allocatedBytes(): number {
    return this.#indexBytes + this.#otherBytes + this.#directoryBytes + this.#segmentBytes;
  }

  /** Upper bound of what is allocated now and by everything that has been let through. */
  get chargedBytes(): number {
    const newEntries = Math.max(0, this.#peakFiles - this.#filesAtMeasure);
    return (
      this.allocatedBytes +
      this.#reservedBytes +
      newEntries * DIRECTORY_ENTRY_BYTES +
      this.#indexHeadroomBytes +
      OTHER_HEADROOM_BYTES
    );
  }

  get overBytes(): number {
    return this.chargedBytes - this.maxBytes;
  }

  measured(footprint: Footprint): void {
    this.#indexBytes = footprint.indexBytes;
    this.#otherBytes = footprint.otherBytes;
    this.#directoryBytes = footprint.segmentsDirBytes;
    // Files born while the measurement ran stay counted as new, which errs on the safe side.
    this.#filesAtMeasure = Math.min(this.#filesAtMeasure, this.#files);
    this.#peakFiles = Math.max(this.#files, this.#peakFiles);
  }

  /** Something that is not a segment of ours was removed. */
  otherGone(bytes: number): void {
    this.#otherBytes = Math.max(0, this.#otherBytes - bytes);
  }

  indexMeasured(bytes: number): void {
    this.#indexBytes = bytes;
  }

  /** After the index is loaded: these files are in the directory that was measured. */
  filesFound(count: number): void {
    this.#files = count;
    this.#filesAtMeasure = count;
    this.#peakFiles = count;
  }

  fileBorn(): void {
    this.#files += 1;
    this.#peakFiles = Math.max(this.#peakFiles, this.#files);
  }

  fileGone(): void {
    this.#files -= 1;
  }

  chargeSegment(changeBytes: number): void {
    this.#segmentBytes += changeBytes;
  }

  reserve(bytes: number): void {
    this.#reservedBytes += bytes;
  }

  unreserve(bytes: number): void {
    this.#reservedBytes -= bytes;
  }
}
