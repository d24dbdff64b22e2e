import type { ServedPiece } from '../exchange.ts';
import type { PeerId } from '../member.ts';
import type { Fetch } from '../messages.ts';
import type { Shelf } from '../shelf.ts';
import type { PieceFact } from '../trust/statement.ts';
import type { Voucher } from '../voucher.ts';
import type { Arrivals } from './arrivals.ts';

export interface ServeDeskParts {
  readonly shelf: Shelf;
  readonly arrivals: Arrivals;
  /** Whether this node is asking that member for the piece now. */
  readonly isAskedFor: (fetch: Fetch, of: PeerId) => boolean;
  /** What goes with a piece; null when it must not go. */
  readonly voucherFor: (fact: PieceFact) => Voucher | null;
}

/** Gives pieces to members: what is here, and soon what is on its way here. */
export class ServeDesk {
  readonly #parts: ServeDeskParts;

  constructor(parts: ServeDeskParts) {
    this.#parts = parts;
  }

  /** Resolves true once the piece can be lent. */
  awaitPiece(from: PeerId, fetch: Fetch, signal: AbortSignal): Promise<boolean> {
    const { shelf, arrivals, isAskedFor } = this.#parts;
    const { digest, piece, waitMs } = fetch;
    if (shelf.has(digest, piece)) return Promise.resolve(true);
    // Each would wait for the other, who turned to it when a third had failed.
    if (isAskedFor(fetch, from)) return Promise.resolve(false);
    return arrivals.wait(digest, piece, waitMs, signal);
  }

  async serve(_to: PeerId, { realm, digest, size, piece }: Fetch, signal: AbortSignal): Promise<ServedPiece> {
    const { shelf, voucherFor } = this.#parts;
    const isShared = shelf.realmsOf(digest).includes(realm) && shelf.sizeOf(digest) === size;
    const lent = isShared ? await shelf.lend({ digest, size }, piece, signal) : null;
    if (lent === null) return { kind: 'gone' };
    const voucher = voucherFor({ realm, digest, size, piece, sha256: lent.sha256 });
    if (voucher === null) {
      lent.release();
      return { kind: 'gone' };
    }
    return { kind: 'piece', bytes: lent.bytes, voucher, release: () => lent.release() };
  }
}
