import type { Hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { blobHash, type Digest } from '../blob/digest.ts';
import { pieceCount } from '../blob/piece.ts';
import type { KnownBlob } from '../blob/source.ts';

/** Completed pieces that wait for an earlier one: beyond it the last ones are read back from the store when their turn comes. */
const MAX_WAITING_PIECES = 8;
const NOTHING = (): void => undefined;

/** Reads one piece, from wherever it is now. */
export type PieceReader = (piece: number) => Promise<Uint8Array>;

/**
 * The running hash of one whole blob. Pieces are offered as they complete, in any order; the hash follows in the
 * blob's order, so that it is nearly done when the last byte has come. What was not offered is read from the node.
 */
export class Proof {
  readonly blob: KnownBlob;
  readonly #hash: Hash;
  readonly #waiting = new Map<number, { readonly bytes: Uint8Array; readonly done: () => void }>();
  #next = 0;
  #turn: Promise<void> = Promise.resolve();
  #verdict: 'proven' | 'mismatch' | undefined;

  constructor(blob: KnownBlob) {
    this.blob = blob;
    this.#hash = blobHash(blob.digest);
  }

  /** @param bytes of the whole piece; must not change until `done` is called. */
  offer(piece: number, bytes: Uint8Array, done: () => void = NOTHING): void {
    if (piece < this.#next || this.#waiting.has(piece) || !this.#hasRoom(piece)) {
      done();
      return;
    }
    this.#waiting.set(piece, { bytes, done });
    if (piece === this.#next) void this.#inTurn(() => this.#drain());
  }

  /**
   * Hashes what is still missing before piece `end`. A reader that goes along calls it as it moves on, so that pieces
   * which nobody offers (they were on the node already) do not all wait for the end, where the last piece is held back.
   */
  async catchUp(end: number, read: PieceReader): Promise<void> {
    if (this.#next >= end) return;
    await this.#inTurn(() => this.#drain());
    while (this.#next < end) {
      const piece = this.#next;
      if (!this.#waiting.has(piece)) {
        const bytes = await read(piece);
        if (piece >= this.#next && !this.#waiting.has(piece))
          this.#waiting.set(piece, { bytes, done: NOTHING });
      }
      await this.#inTurn(() => this.#drain());
    }
  }

  /** Hashes what is still missing and compares. */
  async conclude(read: PieceReader): Promise<'proven' | 'mismatch'> {
    await this.catchUp(pieceCount(this.blob.size), read);
    this.#verdict ??= matches(this.#hash, this.blob.digest) ? 'proven' : 'mismatch';
    return this.#verdict;
  }

  async #drain(): Promise<void> {
    for (let one = this.#waiting.get(this.#next); one !== undefined; one = this.#waiting.get(this.#next)) {
      // Half a millisecond; smaller steps, each a turn of a busy loop, made the hash fall behind and read pieces back.
      this.#hash.update(one.bytes);
      this.#waiting.delete(this.#next);
      this.#next += 1;
      one.done();
      await setImmediate();
    }
  }

  /** Whether a piece may wait: one that comes sooner takes the place of the last. */
  #hasRoom(piece: number): boolean {
    if (piece === this.#next || this.#waiting.size < MAX_WAITING_PIECES) return true;
    const last = Math.max(...this.#waiting.keys());
    if (last < piece) return false;
    this.#waiting.get(last)?.done();
    this.#waiting.delete(last);
    return true;
  }

  /** One at a time: a hash has one end. */
  #inTurn(step: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(step);
    return this.#turn;
  }
}

function matches(hash: Hash, digest: Digest): boolean {
  return digest.endsWith(`:${hash.digest('hex')}`);
}
