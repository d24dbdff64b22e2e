import type { PeerId } from '../member.ts';

const MAX_SIZES = 4;

/** How many bytes a blob has, as most of those say who hold some of it. */
export class SizeVotes {
  readonly #votes = new Map<number, number>();
  readonly #voters = new Set<PeerId>();

  /** Each voter's first word counts; 0 is none. @param voter undefined: hearsay, which any voter outweighs. */
  vote(voter: PeerId | undefined, size: number): void {
    if (size <= 0) return;
    if (voter !== undefined) {
      if (this.#voters.has(voter)) return;
      this.#voters.add(voter);
    }
    const votes = this.#votes.get(size);
    if (votes === undefined && this.#votes.size >= MAX_SIZES) return;
    this.#votes.set(size, (votes ?? 0) + (voter === undefined ? 0.5 : 1));
  }

  get size(): number | undefined {
    let best: number | undefined;
    let most = 0;
    for (const [size, votes] of this.#votes) {
      if (votes <= most) continue;
      most = votes;
      best = size;
    }
    return best;
  }
}
