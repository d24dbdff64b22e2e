import type { PeerId } from '../member.ts';
import type { Ask, Assignment, FailedHolder, Plan } from '../messages.ts';
import { NO_PIECES, type PieceMask } from '../piece-mask.ts';
import type { AskHandle } from './actions.ts';
import type { Lease } from './leases.ts';
import type { PlannedPeer } from './peers.ts';
import type { Source } from './piece-sources.ts';

/** A reader that offers to read nothing may yet: only after so long it is sent again to who kept it waiting before. */
const LEASELESS_MS = 1_500;

export type Mercy = 'none' | 'busy' | 'soft';

/** Who was silent, had nothing, or sent wrong bytes is never named again for the piece. */
const FORGIVEN: Readonly<Record<Mercy, ReadonlySet<FailedHolder['why']>>> = {
  none: new Set(),
  busy: new Set(['busy']),
  soft: new Set(['busy', 'slow']),
};

/** One reader's question about one segment, and what is to be answered next. */
export class OpenAsk {
  readonly handle: AskHandle;
  readonly peer: PlannedPeer;
  readonly ask: Ask;
  /** When it began to wait, with this question or an earlier one. */
  readonly since: number;
  /** Not assigned yet. */
  waiting: PieceMask = NO_PIECES;
  /** It would still read so many pieces from the origin. */
  leasesLeft: number;
  /** It has heard of this ask. */
  isAnswered = false;
  #fetches = new Map<string, { pieces: PieceMask; from: PeerId[] }>();
  #leases: { pieces: PieceMask; leaseMs: number; isHedge: boolean }[] = [];

  constructor(handle: AskHandle, peer: PlannedPeer, ask: Ask, since: number) {
    this.since = since;
    this.handle = handle;
    this.peer = peer;
    this.ask = ask;
    this.leasesLeft = ask.leases;
  }

  /**
   * @param mercy for those that were only busy, or only busy or slow: named again when nobody else is left.
   */
  isBarred(id: PeerId, slot: number, mercy: Mercy): boolean {
    return this.ask.failed.some(
      ({ from, pieces, why }) => from === id && (pieces & (1 << slot)) !== 0 && !FORGIVEN[mercy].has(why),
    );
  }

  /** Now, or before long. */
  mayRead(now: number): boolean {
    return this.ask.leases > 0 || now - this.since < LEASELESS_MS;
  }

  assignFetch(slot: number, sources: readonly Source[]): void {
    this.waiting &= ~(1 << slot);
    // A reader that turns to an alternate tells nobody: two that receive might end up waiting for each other.
    const usable = sources.filter(({ state }, place) => place === 0 || state !== 'receiving');
    const from = usable.map(({ peer }) => peer.id);
    const key = from.join(' ');
    const group = this.#fetches.get(key) ?? { pieces: NO_PIECES, from };
    group.pieces |= 1 << slot;
    this.#fetches.set(key, group);
  }

  assignLease(slot: number, lease: Lease): void {
    this.waiting &= ~(1 << slot);
    const { leaseMs, isHedge } = lease;
    const group = this.#leases.find((other) => other.leaseMs === leaseMs && other.isHedge === isHedge);
    if (group !== undefined) group.pieces |= 1 << slot;
    else this.#leases.push({ pieces: 1 << slot, leaseMs, isHedge });
  }

  /** @returns null when there is nothing to say. */
  takePlan(size: number | undefined, isPending: boolean): Plan | null {
    const assignments: Assignment[] = [
      ...this.#leases.map((lease) => ({ kind: 'lease' as const, ...lease })),
      ...Array.from(this.#fetches.values(), (fetch) => ({ kind: 'fetch' as const, ...fetch })),
    ];
    const isFinal = this.waiting === NO_PIECES;
    if (this.isAnswered && assignments.length === 0 && !isFinal) return null;
    this.isAnswered = true;
    this.#fetches = new Map();
    this.#leases = [];
    const { realm, digest, segment } = this.ask;
    return { realm, digest, segment, size, assignments, isFinal, isPending: isPending && !isFinal };
  }
}
