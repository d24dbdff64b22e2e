import type { MembershipMetrics } from '../../../peer/membership/membership.ts';

const nothing = (): undefined => undefined;

export const NO_METRICS: MembershipMetrics = {
  dialed: nothing,
  dialFailed: nothing,
  handshakeDone: nothing,
  refused: nothing,
  suspected: nothing,
  membershipMessage: nothing,
  membershipChanged: nothing,
};
