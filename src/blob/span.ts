/** Bytes [start, end) of a blob. Half-open everywhere inside; HTTP's closed ranges exist only at the edges. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export function spanLength(span: Span): number {
  return span.end - span.start;
}
