import { PIECE_BYTES } from '../blob/piece.ts';
import { TooLate, within } from './deadline.ts';
import { type DiskReadParts, SLOW_SHARE } from './disk-read.ts';
import type { Segment } from './segment.ts';

/**
 * Reads one piece for nobody, to see whether a disk that did not answer does again: those who read it now get all that
 * they want without it, and would never find out. Never throws; the outcome is in the health of the disk.
 */
export async function probeRead(parts: DiskReadParts, segment: Segment, slot: number): Promise<void> {
  const { verifier, health, timeoutMs, log } = parts;
  const beganMs = performance.now();
  try {
    await within(verifier.read(segment, slot, PIECE_BYTES), timeoutMs);
    if (performance.now() - beganMs > timeoutMs * SLOW_SHARE) health.failed('read', 'disk-slow');
    else health.succeeded('read');
  } catch (error) {
    if (error instanceof TooLate) health.failed('read', 'disk-slow');
    else log.debug({ err: error }, 'a read that was to try the cache disk failed');
  }
}
