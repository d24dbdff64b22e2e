import type { Span } from '../../../src/blob/span.ts';
import type { Random } from '../../support/random.ts';

/** A range as a test means it; `text` is how it is spelt. */
export type WantedRange =
  | { readonly kind: 'closed'; readonly first: number; readonly last: number }
  | { readonly kind: 'open'; readonly first: number }
  | { readonly kind: 'suffix'; readonly length: number };

export interface RandomRequest {
  readonly method: 'GET' | 'HEAD';
  /** The Range header; undefined: none. */
  readonly range: string | undefined;
  /** What it means; null: nothing, whatever it says (malformed, another unit, none). */
  readonly ranges: readonly WantedRange[] | null;
  /** `right` is the blob's own tag. */
  readonly ifRange: 'none' | 'right' | 'wrong' | 'weak' | 'date';
}

/** What RFC 9110 says the answer is, thought out the slow and plain way. */
export type RightAnswer =
  | { readonly status: 200; readonly span: Span }
  | { readonly status: 206; readonly span: Span }
  | { readonly status: 'multipart'; readonly spans: readonly Span[] }
  | { readonly status: 416 }
  | { readonly status: 400 };

export function rightAnswer(request: RandomRequest, size: number): RightAnswer {
  const whole = { status: 200, span: { start: 0, end: size } } as const;
  const { ranges } = request;
  if (request.method === 'HEAD' || ranges === null || !['none', 'right'].includes(request.ifRange))
    return whole;
  const spans: Span[] = [];
  for (const range of ranges) {
    if (range.kind === 'suffix') {
      if (range.length === 0) continue;
      // A suffix of nothing cannot be labelled: there is no last byte to name.
      if (size === 0) return whole;
      spans.push({ start: range.length >= size ? 0 : size - range.length, end: size });
      continue;
    }
    if (range.first >= size) continue;
    const last = range.kind === 'open' || range.last >= size ? size - 1 : range.last;
    spans.push({ start: range.first, end: last + 1 });
  }
  const [first] = spans;
  if (first === undefined) return { status: 416 };
  const total = spans.reduce((sum, { start, end }) => sum + end - start, 0);
  if (spans.length > 64 || total > size) return { status: 400 };
  return spans.length === 1 ? { status: 206, span: first } : { status: 'multipart', spans };
}

const MALFORMED = ['bytes=', 'bytes=-', 'bytes=5-2', 'bytes=a-b', 'items=0-5', 'bytes 0-5', 'bytes=1-2-3'];
/** Bytes of one single range that is not open-ended. */
const MAX_CLOSED_BYTES = 3 << 20;

/** A request of any form for a blob of `size` bytes; `small` keeps what it asks for to a few KiB where it can. */
export function randomRequest(random: Random, size: number, small: boolean): RandomRequest {
  const method = random.next() < 0.06 ? 'HEAD' : 'GET';
  const roll = random.next();
  const withIfRange = random.next() < 0.06;
  const ifRange = withIfRange ? random.pick(['right', 'wrong', 'weak', 'date'] as const) : 'none';
  const request = (range: string | undefined, ranges: readonly WantedRange[] | null): RandomRequest => ({
    method,
    range,
    ranges,
    ifRange,
  });
  if (roll < 0.08 && !(small && size > 1 << 20)) return request(undefined, null);
  if (roll < 0.1 && size <= 1 << 20) return request(random.pick(MALFORMED as [string, ...string[]]), null);
  const count = roll < 0.22 ? random.integer(2, roll < 0.11 ? 70 : 6) : 1;
  const longest = small ? 8192 : MAX_CLOSED_BYTES;
  const ranges = Array.from({ length: count }, () =>
    randomRange(random, size, count > 1 ? Math.min(longest, 65_536, Math.ceil(size / count)) : longest),
  );
  const separator = random.pick([',', ', ', ' ,', ',,']);
  return request(`bytes=${ranges.map(spell).join(separator)}`, ranges);
}

function randomRange(random: Random, size: number, longest: number): WantedRange {
  const length = random.integer(0, random.pick([2, 1000, longest, longest] as const) + 1);
  const roll = random.next();
  if (roll < 0.12) return { kind: 'suffix', length };
  // Past the end, just past it, or far beyond what a number holds exactly.
  if (roll < 0.16) {
    return {
      kind: 'open',
      first: size + random.pick([0, 0, 1, 4096, Number.MAX_SAFE_INTEGER - size] as const),
    };
  }
  if (roll < 0.26) return { kind: 'open', first: Math.max(0, size - length - 1) };
  const atPiece = random.next() < 0.3;
  const anywhere = random.integer(0, Math.max(1, size));
  const first = atPiece
    ? Math.max(0, Math.round(anywhere / 2 ** 20) * 2 ** 20 - random.integer(0, 2))
    : anywhere;
  const last =
    random.next() < 0.05 && size - first < longest ? size + random.integer(0, 2 ** 40) : first + length;
  return { kind: 'closed', first, last };
}

function spell(range: WantedRange): string {
  if (range.kind === 'suffix') return `-${range.length}`;
  return `${range.first}-${range.kind === 'open' ? '' : range.last}`;
}
