/** Bounds of an exchange. The defaults are what a node runs with; tests make them small. */
export interface ExchangeLimits {
  /** Peers with a connection of ours; past it the one unused for longest is closed as soon as it is idle. */
  readonly maxPeers: number;
  /** Connections of others to us. */
  readonly maxInbound: number;
  /** Connections of others that have proven nothing yet, in all and from one address. */
  readonly maxUnproven: number;
  readonly maxUnprovenPerAddress: number;
  /** From the first byte of a connection to the proof of both sides. */
  readonly handshakeMs: number;
  /** All addresses of a member together. */
  readonly dialMs: number;
  /** After this the next address is tried beside the one that has not answered. */
  readonly nextAddressMs: number;
  /** A member that could not be dialled is not dialled again for so long. */
  readonly redialMs: number;
  /** Questions under way on one connection. */
  readonly maxCalls: number;
  /** A connection that nobody uses is closed. */
  readonly idleMs: number;
  /** With questions under way and not a byte for so long the other side is asked whether it is there … */
  readonly silenceMs: number;
  /** … and the connection is given up when nothing comes for so long. */
  readonly pongMs: number;
  /** A frame of ours that the other side does not take for so long ends the connection. */
  readonly stallMs: number;
  /** How often whoever waits for a piece hears that it is not forgotten. */
  readonly signMs: number;
  /** Pieces that are being sent. */
  readonly uploadSlots: number;
  /** Pieces that wait for a slot; past it the answer is `busy`. */
  readonly uploadQueue: number;
  /** Infinity: no limit. */
  readonly uploadBytesPerSecond: number;
  readonly downloadBytesPerSecond: number;
  /** How long a connection whose network key is no longer accepted may finish what is under way. */
  readonly retireMs: number;
}

export const DEFAULT_LIMITS: ExchangeLimits = {
  maxPeers: 64,
  maxInbound: 256,
  maxUnproven: 64,
  maxUnprovenPerAddress: 32,
  handshakeMs: 2_000,
  dialMs: 1_000,
  nextAddressMs: 150,
  redialMs: 300,
  maxCalls: 256,
  idleMs: 300_000,
  silenceMs: 2_000,
  pongMs: 3_000,
  stallMs: 30_000,
  signMs: 300,
  uploadSlots: 8,
  uploadQueue: 64,
  uploadBytesPerSecond: Number.POSITIVE_INFINITY,
  downloadBytesPerSecond: Number.POSITIVE_INFINITY,
  retireMs: 5_000,
};
