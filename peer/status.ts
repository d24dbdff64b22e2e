import type { Digest } from '../src/blob/digest.ts';
import type { PeerId } from './member.ts';

/** What a node tells of its part in the swarm: `peers` of the status document, `damselfly peers`. Bounded in length. */
export interface SwarmStatus {
  readonly id: PeerId;
  readonly zone: string;
  readonly epoch: number;
  /** What is really listened on: `host:port` of the data plane, multiaddrs of libp2p. */
  readonly listen: { readonly data: readonly string[]; readonly control: readonly string[] };
  /** Others, live ones first, then by id; at most 256. */
  readonly members: readonly MemberStatus[];
  /** Members in all, this node not counted. */
  readonly memberCount: number;
  /** Over all members; `totalsOf` makes it. */
  readonly totals: SwarmTotals;
  readonly planning: PlanningStatus;
  /** Under way now, the oldest first; at most 64. */
  readonly transfers: readonly TransferStatus[];
}

export interface SwarmTotals {
  readonly live: number;
  readonly suspect: number;
  readonly quarantined: number;
  /** Of all members and this node. */
  readonly zones: number;
  /** Piece bytes since the start. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

export interface MemberStatus {
  readonly id: PeerId;
  readonly zone: string;
  readonly addresses: readonly string[];
  readonly state: 'live' | 'suspect' | 'quarantined';
  readonly connected: boolean;
  /** Piece bytes since the start. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Of its answers, smoothed; null before the first. */
  readonly rttMs: number | null;
  /** 0 (avoided) to 1. */
  readonly score: number;
}

export interface PlanningStatus {
  /** Segments that this node plans or stands by for. */
  readonly segments: number;
  /** Asks that wait for an assignment. */
  readonly waiting: number;
  /** Origin reads that it has leased out now. */
  readonly leases: number;
}

export interface TransferStatus {
  readonly direction: 'from' | 'to';
  readonly peer: PeerId;
  readonly digest: Digest;
  readonly piece: number;
  readonly urgency: 'demand' | 'prefetch';
  readonly bytes: number;
  readonly ageMs: number;
}
