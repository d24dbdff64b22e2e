import type { Span } from '../blob/span.ts';

/** One range-spec of RFC 9110 §14.1.1 as the client spelt it: positions are inclusive, as on the wire. */
export type RangeSpec =
  | { readonly kind: 'closed'; readonly first: number; readonly last: number }
  | { readonly kind: 'open'; readonly first: number }
  | { readonly kind: 'suffix'; readonly length: number };

/** A Range header before the blob's size is known. `none`: there is none, or one that must be ignored. */
export type RangeRequest =
  | { readonly kind: 'none' }
  | { readonly kind: 'specs'; readonly specs: readonly RangeSpec[] };

/** A Range header for a blob of known size. Spans are in the requested order and neither sorted nor merged. */
export type RangeAnswer =
  | { readonly kind: 'none' }
  | { readonly kind: 'spans'; readonly spans: readonly Span[] }
  | { readonly kind: 'unsatisfiable' }
  | { readonly kind: 'too-many' };

/**
 * Parts of one multipart answer. The contract's number, and the least with which podman goes on: it asks for up to
 * 1,024 chunks of a zstd:chunked layer at once and, on a 400 only, halves them until they are fewer than 64.
 */
export const MAX_RANGE_PARTS = 64;

const NONE = { kind: 'none' } as const;
const UNIT = /^[ \t]*bytes=/i;
const SPEC = /^(\d*)-(\d*)$/;

/**
 * Reads a Range header without the blob's size, so that a read can begin before the origin told it.
 * RFC 9110 §14.2 lets a server ignore a range of an unknown unit or of invalid syntax, and RFC 9110 §5.6.1.2 makes it
 * skip empty list elements. Call it for GET only: a Range on any other method means nothing (§14.2).
 */
export function parseRangeBeforeSize(header: string | undefined): RangeRequest {
  if (header === undefined) return NONE;
  const unit = UNIT.exec(header);
  if (unit === null) return NONE;
  const specs: RangeSpec[] = [];
  for (const element of header.slice(unit[0].length).split(',')) {
    const text = trimWhitespace(element);
    if (text === '') continue;
    const spec = parseSpec(text);
    if (spec === null) return NONE;
    specs.push(spec);
  }
  return specs.length === 0 ? NONE : { kind: 'specs', specs };
}

/**
 * What a range means for a blob of `size` bytes: ends are clipped, a suffix longer than the blob is all of it, and of
 * a mixed set the satisfiable ranges remain (RFC 9110 §14.1.2).
 *
 * `too-many` is a set of more than {@link MAX_RANGE_PARTS} parts, or of parts that together are longer than the blob
 * (RFC 9110 §17.15). It is refused rather than answered with the whole blob: who asks for ranges is never sent more.
 * A non-empty suffix of an empty blob is satisfiable, but no Content-Range can say so: it is ignored.
 */
export function resolveRange(request: RangeRequest, size: number): RangeAnswer {
  if (request.kind === 'none') return NONE;
  const spans: Span[] = [];
  let emptySuffix = false;
  let total = 0;
  for (const spec of request.specs) {
    const start = spec.kind === 'suffix' ? Math.max(0, size - spec.length) : spec.first;
    const end = spec.kind === 'closed' ? Math.min(spec.last + 1, size) : size;
    if (start < end) {
      spans.push({ start, end });
      total += end - start;
    } else if (spec.kind === 'suffix' && spec.length > 0) emptySuffix = true;
  }
  if (spans.length > MAX_RANGE_PARTS || total > size) return { kind: 'too-many' };
  if (spans.length > 0) return { kind: 'spans', spans };
  return emptySuffix ? NONE : { kind: 'unsatisfiable' };
}

/** {@link parseRangeBeforeSize} and {@link resolveRange} in one. */
export function parseRange(header: string | undefined, size: number): RangeAnswer {
  return resolveRange(parseRangeBeforeSize(header), size);
}

function parseSpec(text: string): RangeSpec | null {
  const match = SPEC.exec(text);
  if (match === null) return null;
  const [, first = '', last = ''] = match;
  if (first === '') return last === '' ? null : { kind: 'suffix', length: position(last) };
  if (last === '') return { kind: 'open', first: position(first) };
  if (BigInt(last) < BigInt(first)) return null;
  return { kind: 'closed', first: position(first), last: position(last) };
}

/** Positions past what a number holds exactly are past the end of every blob: they saturate (and `+ 1` stays exact). */
function position(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER - 1);
}

/** OWS of RFC 9110 §5.6.3, and no other white space. */
function trimWhitespace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isWhitespace(text.charCodeAt(start))) start += 1;
  while (end > start && isWhitespace(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function isWhitespace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
