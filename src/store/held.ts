import type { KnownBlob } from '../blob/source.ts';
import type { Catalog } from './catalog.ts';

/** What is here of one blob. */
export interface Held {
  readonly blob: KnownBlob;
  /** By segment: bit n for its n-th piece. */
  readonly segments: ReadonlyMap<number, number>;
}

/** Most recently read first: what others want soonest. From memory. */
export function heldPieces(catalog: Pick<Catalog, 'entries'>): Held[] {
  const found: { held: Held; usedAtMs: number }[] = [];
  for (const { digest, info, segments, presentPieces } of catalog.entries()) {
    if (presentPieces === 0) continue;
    const present = new Map<number, number>();
    let usedAtMs = 0;
    for (const segment of segments.values()) {
      if (segment.present !== 0) present.set(segment.index, segment.present);
      usedAtMs = Math.max(usedAtMs, segment.usedAtMs);
    }
    found.push({ held: { blob: { digest, size: info.size }, segments: present }, usedAtMs });
  }
  return found.sort((a, b) => b.usedAtMs - a.usedAtMs).map(({ held }) => held);
}
