import { pieceCount, pieceLength } from '../../src/blob/piece.ts';
import type { PieceBufferPool } from '../exchange.ts';
import type { Fetch, FetchOutcome } from '../messages.ts';
import type { PieceHead } from './codec.ts';
import { broken } from './wire.ts';

/** A piece on its way in: its buffer comes from the pool with the first word of it, and goes back unless it is whole. */
export class PieceTransfer {
  readonly #pool: PieceBufferPool;
  readonly #expected: number;
  #head: PieceHead | null = null;
  #buffer: Buffer | null = null;
  /** Bytes of frames that have begun, and bytes that are there. */
  #claimed = 0;
  #filled = 0;

  constructor(fetch: Fetch, pool: PieceBufferPool) {
    this.#pool = pool;
    this.#expected = fetch.piece < pieceCount(fetch.size) ? pieceLength(fetch.piece, fetch.size) : 0;
  }

  get isBegun(): boolean {
    return this.#head !== null;
  }

  /** Bytes that the other side may still send of it. */
  get missing(): number {
    return this.#expected - this.#filled;
  }

  begin(head: PieceHead): void {
    if (this.#head !== null) throw broken('a piece begins twice');
    if (head.length !== this.#expected) throw broken('a piece has another length than its blob says');
    this.#head = head;
    this.#buffer = this.#pool.take(head.length);
  }

  /** Where the next `bytes` of it belong. */
  claim(bytes: number): Buffer {
    if (this.#buffer === null) throw broken('bytes of a piece that has not begun');
    const start = this.#claimed;
    if (start + bytes > this.#buffer.length) throw broken('a piece is longer than it said');
    this.#claimed += bytes;
    return this.#buffer.subarray(start, this.#claimed);
  }

  /** @returns the piece once it is whole; it is its caller's then. */
  filled(bytes: number): Extract<FetchOutcome, { kind: 'piece' }> | null {
    this.#filled += bytes;
    if (this.#head === null || this.#buffer === null || this.#filled < this.#buffer.length) return null;
    const whole = { kind: 'piece', bytes: this.#buffer, voucher: this.#head.voucher } as const;
    this.#buffer = null;
    return whole;
  }

  /** Only when nothing writes to its buffer any more. */
  drop(): void {
    if (this.#buffer !== null) this.#pool.give(this.#buffer);
    this.#buffer = null;
  }
}
