/** Bytes [start, end) of a blob. Half-open everywhere inside; HTTP's closed ranges exist only at the edges. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export function spanLength(span: Span): number {
  return span.end - span.start;
}

/** The part of `a` that lies in `b`, or null when they do not overlap. */
export function intersect(a: Span, b: Span): Span | null {
  const start = Math.max(a.start, b.start);
  const end = Math.min(a.end, b.end);
  return start < end ? { start, end } : null;
}
