import type { Series } from './series.ts';
import type { MEMBER_STATES, PeerTransport } from './swarm-labels.ts';

/** The swarm as it is now. */
export interface SwarmGauges {
  /** Other members, by state. */
  readonly members: Readonly<Record<(typeof MEMBER_STATES)[number], number>>;
  /** Rows of the table of members, this node's own among them. */
  readonly tableSize: number;
  /** Open ones, in either direction. */
  readonly connections: Readonly<Record<PeerTransport, number>>;
  /** Pieces being sent, and asked for and waiting for a slot. */
  readonly uploads: { readonly active: number; readonly queued: number };
  /** Of this node as a planner: segments that it knows, asks that wait, pieces that it has leased out. */
  readonly planner: { readonly segments: number; readonly waiting: number; readonly leases: number };
  /** Pieces that this node may read from the origin by a lease of its own. */
  readonly heldLeases: number;
}

/** Of a node without peers. */
export const NO_SWARM: SwarmGauges = {
  members: { live: 0, suspect: 0, quarantined: 0 },
  tableSize: 0,
  connections: { tls: 0, libp2p: 0 },
  uploads: { active: 0, queued: 0 },
  planner: { segments: 0, waiting: 0, leases: 0 },
  heldLeases: 0,
};

/** @param now is read at each scrape: cheap and in memory. */
export function registerSwarmGauges(series: Series, now: () => SwarmGauges): void {
  series.levels(
    'damselfly_members',
    'Other members that this node knows, by state.',
    'state',
    () => now().members,
  );
  series.level(
    'damselfly_membership_table_size',
    'Rows of the table of members, with this node.',
    () => now().tableSize,
  );
  series.levels(
    'damselfly_peer_connections',
    'Open connections with members, by transport.',
    'transport',
    () => now().connections,
  );
  series.level(
    'damselfly_peer_uploads_active',
    'Upload slots in use: pieces being sent to members.',
    () => now().uploads.active,
  );
  series.level(
    'damselfly_peer_uploads_queued',
    'Pieces that members have asked for and that wait for an upload slot.',
    () => now().uploads.queued,
  );
  series.level(
    'dragonfly_client_concurrent_upload_piece_total',
    "Pieces being sent to members (Dragonfly's name).",
    () => now().uploads.active,
  );
  series.level(
    'damselfly_planner_segments',
    'Segments that this node plans or stands by for.',
    () => now().planner.segments,
  );
  series.level(
    'damselfly_planner_waiting_asks',
    'Questions of readers that wait for an assignment.',
    () => now().planner.waiting,
  );
  series.levels(
    'damselfly_leases_running',
    'Leases now, counted in pieces: granted by this node as a planner, and held by it as a reader.',
    'role',
    () => ({ planner: now().planner.leases, reader: now().heldLeases }),
  );
}
