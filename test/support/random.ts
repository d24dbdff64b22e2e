import { seededBytes } from './origin/content.ts';

const BLOCK_BYTES = 64 * 1024;

/** Numbers that look random and are the same for the same seed. */
export class Random {
  readonly #seed: string;
  #block: Buffer = Buffer.alloc(0);
  #blockIndex = 0;
  #at = 0;

  constructor(seed: number | string) {
    this.#seed = `random:${seed}`;
  }

  /** In [0, 1). */
  next(): number {
    if (this.#at + 4 > this.#block.length) {
      const start = this.#blockIndex++ * BLOCK_BYTES;
      this.#block = seededBytes(this.#seed, { start, end: start + BLOCK_BYTES });
      this.#at = 0;
    }
    const value = this.#block.readUInt32LE(this.#at) / 2 ** 32;
    this.#at += 4;
    return value;
  }

  /** A whole number in [from, to). */
  integer(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from));
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.integer(0, choices.length)] ?? choices[0];
  }
}
