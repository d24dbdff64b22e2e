import { createHash, type Hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { SourceName, VerifiedPiece } from '../blob/source.ts';
import type { PieceBufferPool } from './piece-buffers.ts';

/** Hash in steps of this many bytes (about 0.15 ms each), so that the loop is never held for a whole piece. */
const HASH_STEP_BYTES = 256 * 1024;

/**
 * A piece while it arrives. Bytes come in at most two ascending streams: from the wanted offset to the piece's end
 * first, then the part before it, so that a reader in mid-piece does not wait for bytes that it did not ask for.
 * Filled bytes do not change while anybody holds the piece, so views of them may be handed out while the rest arrives.
 *
 * The buffer is used again once all holders have let go: the flight, readers between taking a view and asking for the
 * next, a running proof. Whoever cannot tell when a view is done with (a write that was broken off, a disk that did not
 * answer, the memory tier) calls {@link keepForever}, and the buffer is left to the collector.
 */
export class ArrivingPiece {
  readonly index: number;
  readonly bytes: Buffer;
  /** Whose its latest bytes are. */
  source: SourceName = 'origin';
  /** Offset in the piece where the first stream began; 0 when there is only one. */
  readonly #turn: number;
  #tailEnd: number;
  #headEnd = 0;
  /** Running hash while the piece arrives from its start; null when it was begun in the middle. */
  readonly #hash: Hash | null;

  /** Set when it came verified: it is not hashed again. */
  readonly #sha256: Buffer | null;
  readonly #buffers: PieceBufferPool;
  /** The flight is the first. */
  #holders = 1;
  #isKept = false;

  /** @param verified all of it is here already, in a buffer that came from `buffers`. */
  constructor(
    index: number,
    length: number,
    turn: number,
    buffers: PieceBufferPool,
    verified?: VerifiedPiece,
  ) {
    this.index = index;
    this.#buffers = buffers;
    this.bytes = verified?.bytes ?? buffers.take(length);
    this.#sha256 = verified?.sha256 ?? null;
    this.#turn = verified === undefined ? turn : 0;
    this.#tailEnd = verified === undefined ? turn : length;
    this.#hash = verified === undefined && turn === 0 ? createHash('sha256') : null;
  }

  get length(): number {
    return this.bytes.length;
  }

  get isComplete(): boolean {
    return this.#tailEnd === this.bytes.length && this.#headEnd === this.#turn;
  }

  /** End (exclusive, in the piece) of the bytes that are here from `offset` on; `offset` itself when it has not come yet. */
  filledFrom(offset: number): number {
    if (offset >= this.#turn) return Math.max(offset, this.#tailEnd);
    if (this.#headEnd < this.#turn) return Math.max(offset, this.#headEnd);
    return this.#tailEnd;
  }

  /** Takes the next bytes of one of the two streams. @throws RangeError when they do not continue either. */
  write(offset: number, chunk: Uint8Array): void {
    const end = offset + chunk.length;
    if (offset === this.#tailEnd && offset >= this.#turn && end <= this.bytes.length) this.#tailEnd = end;
    else if (offset === this.#headEnd && end <= this.#turn) this.#headEnd = end;
    else throw new RangeError(`bytes ${offset}-${end} do not continue piece ${this.index}`);
    this.bytes.set(chunk, offset);
    this.#hash?.update(chunk);
  }

  /**
   * Takes what is still missing from a whole copy of the piece.
   * @returns false when what is here already differs from it; then nothing is taken.
   */
  completeFrom(copy: Buffer): boolean {
    const [turn, tailEnd, headEnd] = [this.#turn, this.#tailEnd, this.#headEnd];
    if (this.bytes.compare(copy, turn, tailEnd, turn, tailEnd) !== 0) return false;
    if (this.bytes.compare(copy, 0, headEnd, 0, headEnd) !== 0) return false;
    if (tailEnd < copy.length) this.write(tailEnd, copy.subarray(tailEnd));
    if (headEnd < turn) this.write(headEnd, copy.subarray(headEnd, turn));
    return true;
  }

  hold(): void {
    this.#holders += 1;
  }

  /** Call once per holder: the bytes are not to be touched afterwards. */
  letGo(): void {
    this.#holders -= 1;
    if (this.#holders === 0 && !this.#isKept) this.#buffers.give(this.bytes);
  }

  keepForever(): void {
    this.#isKept = true;
  }

  /** sha256 of the whole piece; call once, when complete. */
  async sha256(): Promise<Buffer> {
    if (this.#sha256 !== null) return this.#sha256;
    if (this.#hash !== null) return this.#hash.digest();
    const hash = createHash('sha256');
    for (let at = 0; at < this.bytes.length; at += HASH_STEP_BYTES) {
      if (at > 0) await setImmediate();
      hash.update(this.bytes.subarray(at, at + HASH_STEP_BYTES));
    }
    return hash.digest();
  }
}
