import type { FetchId } from '../hunt/actions.ts';
import type { PeerId } from '../member.ts';

/** Fetches from members that have not ended: who is asked for which piece. */
export class FetchesUnderway {
  /** Piece and member. */
  readonly #asked = new Map<FetchId, string>();
  /** By piece. */
  readonly #counts = new Map<string, number>();

  /**
   * @param key of the piece.
   * @returns whether another one for the same piece is under way: then this one is a hedge.
   */
  begin(fetch: FetchId, key: string, of: PeerId): { readonly isHedge: boolean; end(): void } {
    const before = this.#counts.get(key) ?? 0;
    this.#asked.set(fetch, `${key} ${of}`);
    this.#counts.set(key, before + 1);
    return { isHedge: before > 0, end: () => this.#end(fetch, key) };
  }

  /** Whether the piece is being fetched from this member. */
  has(key: string, of: PeerId): boolean {
    const wanted = `${key} ${of}`;
    for (const asked of this.#asked.values()) if (asked === wanted) return true;
    return false;
  }

  #end(fetch: FetchId, key: string): void {
    if (!this.#asked.delete(fetch)) return;
    const others = (this.#counts.get(key) ?? 1) - 1;
    if (others === 0) this.#counts.delete(key);
    else this.#counts.set(key, others);
  }
}
