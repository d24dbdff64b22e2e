import type { MemberStatus, SwarmTotals } from './status.ts';

/** @param zone of this node. @param members all others, not only those that a document has room for. */
export function totalsOf(zone: string, members: Iterable<MemberStatus>): SwarmTotals {
  const totals = { live: 0, suspect: 0, quarantined: 0, receivedBytes: 0, sentBytes: 0 };
  const zones = new Set([zone]);
  for (const member of members) {
    totals[member.state] += 1;
    totals.receivedBytes += member.receivedBytes;
    totals.sentBytes += member.sentBytes;
    zones.add(member.zone);
  }
  return { ...totals, zones: zones.size };
}
