/** A node's name: the libp2p peer id of its Ed25519 key, base58btc (`12D3KooW…`). */
export type PeerId = string & { readonly __peerId: unique symbol };

export interface HostPort {
  /** An IP address, or a name that every member can resolve. */
  readonly host: string;
  readonly port: number;
}

/** What members know of each other: one row of the table that membership keeps by anti-entropy. */
export interface Member {
  readonly id: PeerId;
  /** Where its data plane (4005) is dialled, best first. */
  readonly data: readonly HostPort[];
  /** Multiaddrs where its libp2p (4006) is dialled, without the /p2p part. */
  readonly control: readonly string[];
  /** Empty when none is configured: all such members are one zone. */
  readonly zone: string;
  /** Greater with each start of that node (its wall clock in ms at start, or one more than the last one known). */
  readonly epoch: number;
}

/** The members that this node believes to be there. A stale view costs a duplicate read, never an error. */
export interface MemberView {
  /** This node's own row. */
  readonly self: Member;
  /** Live members, this node among them, sorted by id; the same array until something changes. */
  live(): readonly Member[];
  find(id: PeerId): Member | undefined;
  /** It did not answer in time: for 5 s others are asked before it. A word from it ends that. */
  suspect(id: PeerId): void;
  isSuspect(id: PeerId): boolean;
  /**
   * Called after joins, leaves, new epochs and the end of suspicions.
   * @returns a function that takes the listener back.
   */
  onChange(listener: () => void): () => void;
}
