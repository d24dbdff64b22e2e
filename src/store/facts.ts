/**
 * Small facts that must survive a restart besides the pieces: who may read which repository, which digest belongs to
 * which repository, which origins a blob came from, what a tag last meant, the key under which requesters are hashed, and
 * who vouched for the pieces of a segment.
 */
export type FactKind = 'reader' | 'member' | 'tag' | 'key' | 'owner' | 'voucher';

export interface Fact {
  readonly key: string;
  readonly value: string;
  /** Milliseconds since the epoch; Infinity for facts that do not age. */
  readonly expiresAtMs: number;
}

export interface FactTable {
  /** All facts of a kind as they were at start, oldest first; expired ones are left out. */
  load(kind: FactKind): readonly Fact[];
  /** Written behind, in a batch; never waits for the disk and never throws for its trouble. */
  put(kind: FactKind, fact: Fact): void;
  remove(kind: FactKind, key: string): void;
}
