import { PIECE_BYTES } from '../../src/blob/piece.ts';
import type { PieceMask } from '../piece-mask.ts';
import type { ReadId, ReadReason } from './actions.ts';
import type { HuntParameters } from './parameters.ts';

/** A run of pieces of one segment that this node reads from the origin. */
export interface OriginRead {
  readonly id: ReadId;
  readonly reason: ReadReason;
  /** Not complete yet. */
  pieces: PieceMask;
  readonly leaseMs: number;
  readonly startedAt: number;
  /** When the planner last heard of it, as far as this node knows. */
  reportedAt: number;
  hasProgress: boolean;
}

/** How much this node reads from the origin, against what it may. */
export class OriginBudget {
  readonly #parameters: HuntParameters;
  /** Pieces that are being read. */
  reading = 0;
  #readBytes = 0;
  #hedgedBytes = 0;

  constructor(parameters: HuntParameters) {
    this.#parameters = parameters;
  }

  /** How many more pieces it would read now. */
  get free(): number {
    return Math.max(0, this.#parameters.maxLeases - this.reading);
  }

  /** How many more pieces it may hedge. */
  get hedges(): number {
    const { hedgeShare, hedgePieces } = this.#parameters;
    const allowed = Math.max(hedgePieces * PIECE_BYTES, hedgeShare * this.#readBytes);
    return Math.max(0, Math.floor((allowed - this.#hedgedBytes) / PIECE_BYTES));
  }

  /** Priced when it starts: what is cut short has cost the origin something as well. */
  started(reason: ReadReason, pieces: number): void {
    this.reading += pieces;
    this.#readBytes += pieces * PIECE_BYTES;
    if (reason === 'hedge') this.#hedgedBytes += pieces * PIECE_BYTES;
  }

  ended(pieces: number): void {
    this.reading -= pieces;
  }
}
