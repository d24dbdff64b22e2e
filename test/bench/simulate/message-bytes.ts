import type { Ask, Knowledge, Plan, Report } from '../../../peer/messages.ts';

// About what the binary frames of the exchange take, TLS record and frame header included.

const FRAME_BYTES = 48;
/** Realm, digest, segment. */
const NAME_BYTES = 48;
const PEER_BYTES = 40;
const MARK_BYTES = 40 + 32 + PEER_BYTES + 64;

export const FETCH_BYTES = FRAME_BYTES + NAME_BYTES + 16;

export function askBytes({ failed }: Ask): number {
  return FRAME_BYTES + NAME_BYTES + 24 + failed.length * (PEER_BYTES + 4);
}

export function planBytes({ assignments }: Plan): number {
  let bytes = FRAME_BYTES + NAME_BYTES + 16;
  for (const said of assignments) bytes += 8 + (said.kind === 'fetch' ? said.from.length * PEER_BYTES : 0);
  return bytes;
}

export function reportBytes(reports: readonly Report[]): number {
  let bytes = FRAME_BYTES;
  for (const { marks, leases } of reports)
    bytes += NAME_BYTES + 20 + marks.length * MARK_BYTES + leases.length * 4;
  return bytes;
}

export function inquiryBytes(knowledge: Knowledge | null): number {
  if (knowledge === null) return FRAME_BYTES + NAME_BYTES;
  return FRAME_BYTES + NAME_BYTES + (knowledge.holders.length + knowledge.leases.length) * (PEER_BYTES + 4);
}
