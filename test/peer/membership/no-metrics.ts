import type { MembershipCounters } from '../../../peer/membership/membership.ts';

const nothing = (): undefined => undefined;

export const NO_METRICS: MembershipCounters = {
  exchange: { dialed: nothing, dialFailed: nothing, handshakeDone: nothing, refused: nothing },
  membership: { suspected: nothing, message: nothing, changed: nothing },
};
