import type { VerifiedPiece } from '../../src/blob/source.ts';
import type { ReadId, ReadReason, Ticket } from '../hunt/actions.ts';

/** How a wanted piece is to be had. */
export type Acquired =
  /** It came from a member, and its bytes are what was vouched for. */
  | { readonly kind: 'piece'; readonly size: number; readonly piece: VerifiedPiece }
  /** Read it from the origin: `read` names the lease. */
  | { readonly kind: 'read'; readonly read: ReadId; readonly reason: ReadReason; readonly ticket: Ticket }
  /** No member's bytes will do, or its time is over: the origin, with no lease. */
  | { readonly kind: 'origin' };

/** Somebody on this node who wants a piece and does not know yet how to have it. */
export interface Waiter {
  readonly ticket: Ticket;
  /** Of the piece. */
  readonly key: string;
  readonly settle: (outcome: Acquired) => void;
}

/** Those who wait now, by ticket and by piece, first come first. */
export class Waiters {
  readonly #byTicket = new Map<Ticket, Waiter>();
  readonly #byPiece = new Map<string, Set<Waiter>>();

  add(waiter: Waiter): void {
    this.#byTicket.set(waiter.ticket, waiter);
    const others = this.#byPiece.get(waiter.key) ?? new Set();
    this.#byPiece.set(waiter.key, others.add(waiter));
  }

  remove(waiter: Waiter): void {
    this.#byTicket.delete(waiter.ticket);
    const others = this.#byPiece.get(waiter.key);
    others?.delete(waiter);
    if (others?.size === 0) this.#byPiece.delete(waiter.key);
  }

  of(ticket: Ticket): Waiter | undefined {
    return this.#byTicket.get(ticket);
  }

  first(key: string): Waiter | undefined {
    const [first] = this.#byPiece.get(key) ?? [];
    return first;
  }

  /** A copy: whoever is settled leaves. */
  forPiece(key: string): readonly Waiter[] {
    return [...(this.#byPiece.get(key) ?? [])];
  }

  /** A copy as well. */
  all(): readonly Waiter[] {
    return [...this.#byTicket.values()];
  }
}
