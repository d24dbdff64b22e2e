import type { PeerId } from '../member.ts';
import type { PieceMark } from '../messages.ts';

interface Known {
  readonly sha256: string;
  readonly kind: 'attested' | 'proven';
  /** Who vouches for it. */
  readonly by: PeerId;
}

/** What a new mark means for those who hold the piece. */
export type MarkVerdict =
  /** Nothing new, or the first word. */
  | 'agrees'
  /** The reporter's piece is wrong: a proven mark says otherwise. */
  | 'refuted'
  /** Everybody else's may be wrong: the new one is proven, or settles a dispute. */
  | 'overrules'
  /** Two attested marks differ: neither is used. */
  | 'disputed';

/** The digests that were reported of one piece (design.md, "Verification"). */
export class PieceMarks {
  #known: Known | undefined;
  /** Digests that were attested against each other. */
  #disputed: string[] = [];

  /** Nobody's bytes of the piece can be trusted now. */
  get isDisputed(): boolean {
    return this.#disputed.length > 0;
  }

  add(mark: PieceMark): MarkVerdict {
    const added: Known = {
      sha256: Buffer.from(mark.sha256).toString('base64'),
      kind: mark.voucher.kind,
      by: mark.voucher.by,
    };
    if (this.isDisputed) return this.#settle(added);
    const known = this.#known;
    if (known === undefined || known.sha256 === added.sha256) {
      if (known === undefined || added.kind === 'proven') this.#known = added;
      return 'agrees';
    }
    if (added.kind === 'proven') {
      this.#known = added;
      return 'overrules';
    }
    if (known.kind === 'proven') return 'refuted';
    this.#disputed = [known.sha256, added.sha256];
    this.#known = undefined;
    return 'disputed';
  }

  /** Its word on this piece was wrong. @returns whether it was what is known here. */
  accuse(by: PeerId): boolean {
    if (this.#known === undefined || this.#known.kind === 'proven' || this.#known.by !== by) return false;
    this.#known = undefined;
    return true;
  }

  /** A proof settles it, and so does a further read of the origin that agrees with one of those before. */
  #settle(added: Known): MarkVerdict {
    if (added.kind === 'attested' && !this.#disputed.includes(added.sha256)) {
      if (this.#disputed.length < 8) this.#disputed.push(added.sha256);
      return 'disputed';
    }
    this.#disputed = [];
    this.#known = added;
    return 'overrules';
  }
}
