import type { Span } from '../../blob/span.ts';
import { UsageError } from '../failure.ts';

/** What of the target is wanted: a half-open span (its end Infinity for "to the end"), or the last bytes. */
export type WantedRange = Span | { readonly last: number };

export const WHOLE: Span = { start: 0, end: Number.POSITIVE_INFINITY };

/** `A-B` (both included, as HTTP counts), `A-` and `-N`. */
export function parseRange(text: string): Span | { readonly last: number } {
  const match = /^(?:bytes=)?(\d+)?-(\d+)?$/.exec(text);
  const [, first, last] = match ?? [];
  const start = first === undefined ? undefined : Number(first);
  const end = last === undefined ? undefined : Number(last);
  if (start !== undefined && Number.isSafeInteger(start)) {
    if (end === undefined) return { start, end: Number.POSITIVE_INFINITY };
    if (Number.isSafeInteger(end) && end >= start) return { start, end: end + 1 };
  }
  if (start === undefined && end !== undefined && Number.isSafeInteger(end) && end > 0) return { last: end };
  throw new UsageError(
    `--range is ${JSON.stringify(text)}; expected A-B (both included), A- (to the end) or -N (the last N bytes)`,
  );
}

export function isSuffix(range: WantedRange): range is { readonly last: number } {
  return 'last' in range;
}
