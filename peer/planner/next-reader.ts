import { SEGMENT_PIECES } from '../../src/blob/piece.ts';
import type { Crowd } from './crowd.ts';
import type { OpenAsk } from './open-ask.ts';
import type { PlannerParameters } from './parameters.ts';
import type { PlannedPeer } from './peers.ts';

/** What is being read of a segment, and by whom it was read before. */
export interface SegmentReading {
  readonly crowd: Crowd;
  readonly parameters: Pick<PlannerParameters, 'aloneMs' | 'firstLeases'>;
  /** Leases of the segment that run now. */
  readonly leases: number;
  /** Of these the peer's, and all that it ever got. */
  leasesOf(peer: PlannedPeer): number;
  grantedTo(peer: PlannedPeer): number;
}

/**
 * Who of those that wait for a piece reads it from the origin. Policy:
 *  1. alone, once that is clear, a reader reads all that it would;
 *  2. of a crowd, few read at once, as {@link Crowd.width} says: readers in order all wait for the piece that is late;
 *  3. on-demand first, then whoever has read least of the segment. Who is ahead of the crowd would read everything, and
 *     its uplink would then feed all: past its share it waits a little for others to come.
 * @param isLate those who wait have done so for long enough.
 * @returns full: one of those that are read now must come first. later: nobody yet. undefined: nobody may.
 */
export function nextReader(
  waiters: readonly OpenAsk[],
  reading: SegmentReading,
  now: number,
  isLate: boolean,
): OpenAsk | 'full' | 'later' | undefined {
  const { crowd, parameters } = reading;
  const candidates = waiters.filter(({ leasesLeft }) => leasesLeft > 0);
  if (candidates.length === 0) return undefined;
  const readers = crowd.size(now);
  const isCrowd = readers > 1;
  const isAlone = !isCrowd && crowd.ageMs(now) >= parameters.aloneMs;
  const width = isCrowd ? crowd.width.pieces : parameters.firstLeases;
  if (isCrowd && reading.leases >= width) return 'full';
  const atOnce = isAlone ? SEGMENT_PIECES : isCrowd ? Math.ceil(width / readers) : width;
  const best = leastRead(
    candidates.filter(({ peer }) => reading.leasesOf(peer) < atOnce),
    reading,
  );
  // Looked at again when it is clear whether somebody else comes.
  if (best === undefined) return isCrowd || isAlone || isLate ? undefined : 'later';
  const share = isCrowd ? Math.ceil(SEGMENT_PIECES / readers) : SEGMENT_PIECES;
  return isLate || reading.grantedTo(best.peer) < share ? best : 'later';
}

function leastRead(waiters: readonly OpenAsk[], { grantedTo }: SegmentReading): OpenAsk | undefined {
  let best: OpenAsk | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const open of waiters) {
    const rank = grantedTo(open.peer) + (open.ask.urgency === 'demand' ? 0 : SEGMENT_PIECES);
    if (rank >= least) continue;
    least = rank;
    best = open;
  }
  return best;
}
