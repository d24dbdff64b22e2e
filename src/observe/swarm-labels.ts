// Values of the labels of the swarm's series, so that all of them stand at 0 from the start.

/** How a connection between members is carried: sockets of the data plane (4005), or libp2p (4006). */
export const TRANSPORTS = ['tls', 'libp2p'] as const;
export type PeerTransport = (typeof TRANSPORTS)[number];

/** in: the other side dialled. out: this node did. */
export const SIDES = ['in', 'out'] as const;
export type Side = (typeof SIDES)[number];

export const DIRECTIONS = ['sent', 'received'] as const;
export type Direction = (typeof DIRECTIONS)[number];

export const URGENCIES = ['demand', 'prefetch'] as const;
export type TransferUrgency = (typeof URGENCIES)[number];

/**
 * Why a connection was not taken. network-key: the proof of the key failed. certificate: no libp2p peer certificate, or
 * one that does not hold. identity: another member than was dialled. version: no protocol version in common. protocol:
 * frames that are none. quarantined: its bytes were wrong before. full: too many connections. timeout: it did not finish.
 */
export const REFUSALS = [
  'network-key',
  'certificate',
  'identity',
  'version',
  'protocol',
  'quarantined',
  'full',
  'timeout',
] as const;
export type RefusalReason = (typeof REFUSALS)[number];

export const DIAL_FAILURES = ['timeout', 'connection-refused', 'unreachable', 'name', 'other'] as const;
export type DialFailure = (typeof DIAL_FAILURES)[number];

/**
 * How a fetch of one piece from one member ended. piece: it came, and matched. wrong: it came, and did not. late: its
 * deadline passed. given-up: nobody wanted it any more. unreachable, refused and broken are the exchange's errors.
 */
export const FETCH_OUTCOMES = [
  'piece',
  'busy',
  'gone',
  'wrong',
  'late',
  'unreachable',
  'refused',
  'broken',
  'given-up',
] as const;
export type FetchResult = (typeof FETCH_OUTCOMES)[number];

/** What this node, as a planner, gave for a piece. */
export const ASSIGNED = ['fetch', 'lease', 'hedge'] as const;
export type AssignedKind = (typeof ASSIGNED)[number];

/**
 * Why a lease ended, at its planner. done: the piece is complete. silent: no progress in time. left: its holder is no
 * member any more. The others are the holder's own words when it gave the lease back.
 */
export const LEASE_ENDS = [
  'done',
  'silent',
  'left',
  'refused',
  'failed',
  'busy',
  'disk',
  'stopping',
] as const;
export type LeaseEnd = (typeof LEASE_ENDS)[number];

/**
 * silent: neither planner nor understudy answered. late: the client's deadline left no time to ask. alone: by a lease, but one
 * that this node gave itself while it could reach no other member, though it has known some.
 */
export const UNLEASED = ['silent', 'late', 'alone'] as const;
export type UnleasedReason = (typeof UNLEASED)[number];

/** Where bytes were read a second time, since the first reading was slow. */
export const HEDGES = ['peer', 'origin'] as const;
export type HedgeSource = (typeof HEDGES)[number];

/** As peer/trust/judge.ts has them. attested: `peer.trust` is proven. contested: members disagree. */
export const VOUCHER_REFUSALS = [
  'length',
  'signature',
  'quarantined',
  'distrusted',
  'suspect',
  'attested',
  'contradicts-proof',
  'contradicts-proven',
  'contradicts-origin',
  'contested',
] as const;
export type VoucherRefusal = (typeof VOUCHER_REFUSALS)[number];

/** Why a piece that was here had to go. liar: who vouched for it was caught. */
export const DROPS = ['contradicts-proof', 'contradicts-proven', 'contested', 'liar'] as const;
export type DropReason = (typeof DROPS)[number];

/** wrong: it sent bytes that nobody vouched for. lied: what it vouched for is wrong. */
export const QUARANTINES = ['wrong', 'lied'] as const;
export type QuarantineReason = (typeof QUARANTINES)[number];

/** As peer/membership/message.ts has them. */
export const MEMBERSHIP_MESSAGES = [
  'hello',
  'rows',
  'summary',
  'want',
  'beats',
  'probe',
  'probed',
  'bye',
] as const;
export type MembershipMessage = (typeof MEMBERSHIP_MESSAGES)[number];

export const MEMBERSHIP_CHANGES = ['joined', 'left'] as const;
export type MembershipChange = (typeof MEMBERSHIP_CHANGES)[number];

export const MEMBER_STATES = ['live', 'suspect', 'quarantined'] as const;

/** Why a dial failed, by the errno of its socket. */
export function dialFailureOf(code: string | undefined): DialFailure {
  switch (code) {
    case 'ETIMEDOUT':
    case 'ABORT_ERR':
      return 'timeout';
    case 'ECONNREFUSED':
      return 'connection-refused';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EADDRNOTAVAIL':
      return 'unreachable';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'name';
    default:
      return 'other';
  }
}
