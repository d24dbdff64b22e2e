import type { PlannerParameters } from './parameters.ts';
import type { PlannedPeer } from './peers.ts';

export interface Lease {
  readonly peer: PlannedPeer;
  readonly isHedge: boolean;
  readonly leaseMs: number;
  readonly grantedAt: number;
  /** When it was granted, or its holder last reported progress. */
  progressAt: number;
}

/** Who reads one piece from the origin: one member, and at most one more to hedge it. */
export class PieceLeases {
  readonly #parameters: PlannerParameters;
  #main: Lease | undefined;
  #hedge: Lease | undefined;
  /** What the next one gets: doubled when one ended without a word, since origins may need longer to their first byte. */
  #nextMs: number;

  constructor(parameters: PlannerParameters) {
    this.#parameters = parameters;
    this.#nextMs = parameters.leaseMs;
  }

  get isFree(): boolean {
    return this.#main === undefined;
  }

  get current(): readonly Lease[] {
    return [this.#main, this.#hedge].filter((lease) => lease !== undefined);
  }

  of(peer: PlannedPeer): Lease | undefined {
    return this.#main?.peer === peer ? this.#main : this.#hedge?.peer === peer ? this.#hedge : undefined;
  }

  grant(peer: PlannedPeer, now: number, leaseMs: number = this.#nextMs): Lease {
    const lease = { peer, isHedge: false, leaseMs, grantedAt: now, progressAt: now };
    this.#main = lease;
    peer.leases += 1;
    return lease;
  }

  /** @returns null when one is in flight already, or the first shows progress. */
  hedge(peer: PlannedPeer, now: number): Lease | null {
    if (this.#hedge !== undefined || this.#main?.peer === peer) return null;
    if (this.#main !== undefined && now - this.#main.progressAt < this.#parameters.hedgeAfterMs) return null;
    const lease = { peer, isHedge: true, leaseMs: this.#nextMs, grantedAt: now, progressAt: now };
    peer.leases += 1;
    // Of a piece that nobody reads it is the one read.
    if (this.#main === undefined) this.#main = lease;
    else this.#hedge = lease;
    return lease;
  }

  /** @returns false when it holds none (any more). */
  progress(peer: PlannedPeer, now: number): boolean {
    const lease = this.of(peer);
    if (lease !== undefined) lease.progressAt = now;
    return lease !== undefined;
  }

  /** It has the piece, gave the lease back, or is gone. @returns whether it held one. */
  end(peer: PlannedPeer): boolean {
    const lease = this.of(peer);
    if (lease === undefined) return false;
    peer.leases -= 1;
    if (lease === this.#hedge) {
      this.#hedge = undefined;
    } else {
      // The hedge becomes the one read of the piece.
      this.#main = this.#hedge === undefined ? undefined : { ...this.#hedge, isHedge: false };
      this.#hedge = undefined;
    }
    return true;
  }

  /** The piece has come: what comes next starts with a short lease again. */
  settle(): void {
    this.#nextMs = this.#parameters.leaseMs;
  }

  /** @returns those that ended since they showed no progress. */
  expire(now: number): Lease[] {
    const over = this.current.filter((lease) => lease.progressAt + lease.leaseMs <= now);
    for (const lease of over) {
      this.end(lease.peer);
      this.#nextMs = Math.min(Math.max(this.#nextMs, 2 * lease.leaseMs), this.#parameters.maxLeaseMs);
    }
    return over;
  }

  expiresAt(): number | undefined {
    const times = this.current.map((lease) => lease.progressAt + lease.leaseMs);
    return times.length === 0 ? undefined : Math.min(...times);
  }
}
