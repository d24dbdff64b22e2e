import type { KnownBlob } from '../../src/blob/source.ts';
import type { PeerId } from '../member.ts';
import type { PieceMark, Realm } from '../messages.ts';
import type { Refusal } from './judge.ts';
import type { Quarantine } from './standing.ts';
import type { PieceFact } from './statement.ts';

/** Why a piece that is here has to go: a refusal of what it would be now, or its attester was caught. */
export type DropReason = Extract<Refusal, 'contradicts-proof' | 'contradicts-proven' | 'contested'> | 'liar';

export interface PiecePlace {
  readonly realm: Realm;
  readonly blob: KnownBlob;
  /** Of the blob. */
  readonly piece: number;
}

/** What follows from what was learned; called synchronously, nothing may throw. */
export interface TrustEvents {
  /** The piece is here and not to be believed: take it off the node, withdraw it, and read it anew when it is wanted. */
  drop(place: PiecePlace, why: DropReason): void;
  /** This node has seen that what `by` vouched for is wrong: to be told to the planners. `by` may be this node. */
  accuse(place: PiecePlace, by: PeerId): void;
  /**
   * Somebody has another idea of the piece than this proven one. A member that does, `to`, is sent the mark; when that is
   * undefined, whoever plans the segment sends it to all holders of the piece: they drop theirs if it is another.
   */
  disagree(place: PiecePlace, proven: PieceMark, to: PeerId | undefined): void;
  /** Once when it begins: to be logged and counted. */
  quarantined(quarantine: Quarantine): void;
}

export function placeOf({ realm, digest, size, piece }: Omit<PieceFact, 'sha256'>): PiecePlace {
  return { realm, blob: { digest, size }, piece };
}
