import type { Digest } from '../../src/blob/digest.ts';
import type { UrgencyLevel } from '../../src/blob/urgency.ts';
import type { PeerId } from '../member.ts';
import type { TransferStatus } from '../status.ts';

const MAX_SHOWN = 64;
/** Members whose bytes are counted; who left long ago is forgotten. */
const MAX_PEERS = 4_096;

interface Running {
  readonly direction: 'from' | 'to';
  readonly peer: PeerId;
  readonly digest: Digest;
  readonly piece: number;
  readonly urgency: UrgencyLevel;
}

export interface Transfer {
  add(bytes: number): void;
  end(): void;
}

/** Pieces on their way between this node and others, and how many bytes each member has given and got. */
export class Transfers {
  readonly #clock: () => number;
  readonly #running = new Set<{ readonly what: Running; readonly beganAt: number; bytes: number }>();
  readonly #totals = new Map<PeerId, { from: number; to: number }>();

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  begin(what: Running): Transfer {
    const transfer = { what, beganAt: this.#clock(), bytes: 0 };
    this.#running.add(transfer);
    return {
      add: (bytes) => {
        transfer.bytes += bytes;
        this.#count(what, bytes);
      },
      end: () => this.#running.delete(transfer),
    };
  }

  /** The oldest first. */
  running(): TransferStatus[] {
    const now = this.#clock();
    return [...this.#running]
      .slice(0, MAX_SHOWN)
      .map(({ what, beganAt, bytes }) => ({ ...what, bytes, ageMs: Math.round(now - beganAt) }));
  }

  /** Piece bytes since the start. */
  bytesOf(peer: PeerId): { readonly from: number; readonly to: number } {
    return this.#totals.get(peer) ?? { from: 0, to: 0 };
  }

  #count({ peer, direction }: Running, bytes: number): void {
    const totals = this.#totals.get(peer) ?? { from: 0, to: 0 };
    // Most recently active last.
    this.#totals.delete(peer);
    this.#totals.set(peer, totals);
    totals[direction] += bytes;
    if (this.#totals.size <= MAX_PEERS) return;
    for (const oldest of this.#totals.keys()) {
      this.#totals.delete(oldest);
      return;
    }
  }
}
