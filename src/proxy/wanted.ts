import type { WantedBytes } from '../content/parts.ts';
import type { RangeRequest } from './range.ts';

/**
 * Which bytes a request wants first, while the blob's size is not known yet. Null when only the size can tell (a
 * suffix, several ranges): then the size is asked for with as few bytes as can be.
 */
export function wantedBytes(range: RangeRequest): WantedBytes | null {
  if (range.kind === 'none') return { start: 0, end: undefined };
  const [spec, ...more] = range.specs;
  if (spec === undefined || more.length > 0 || spec.kind === 'suffix') return null;
  if (spec.kind === 'open') return { start: spec.first, end: undefined };
  return { start: spec.first, end: spec.last + 1 };
}

/** The least that tells a size. */
export const FIRST_BYTE: WantedBytes = { start: 0, end: 1 };
