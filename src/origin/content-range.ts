import type { Span } from '../blob/span.ts';

/** A Content-Range of bytes (RFC 9110 §14.4), half-open; `span` is null in a 416's unsatisfied form, `bytes * /size`. */
export interface ContentRange {
  readonly span: Span | null;
  /** Undefined for `*`. */
  readonly size: number | undefined;
}

/** @returns null for what is no valid byte range. */
export function parseContentRange(value: string | undefined): ContentRange | null {
  const match = /^\s*bytes[ =]\s*(?:(\d+)\s*-\s*(\d+)|\*)\s*\/\s*(\d+|\*)\s*$/i.exec(value ?? '');
  if (match === null) return null;
  const [, first, last, total] = match;
  const size = total === '*' ? undefined : Number(total);
  if (size !== undefined && !Number.isSafeInteger(size)) return null;
  if (first === undefined || last === undefined) return { span: null, size };
  const span = { start: Number(first), end: Number(last) + 1 };
  if (!Number.isSafeInteger(span.end) || span.start >= span.end) return null;
  if (size !== undefined && span.end > size) return null;
  return { span, size };
}

/** The Range header for a half-open span; an infinite end is open-ended. */
export function rangeHeader(span: Span): string {
  return Number.isFinite(span.end) ? `bytes=${span.start}-${span.end - 1}` : `bytes=${span.start}-`;
}

/** A Content-Length; undefined when absent, repeated differently or malformed. */
export function parseContentLength(value: string | undefined): number | undefined {
  if (value === undefined || !/^\d+$/.test(value.trim())) return undefined;
  const length = Number(value);
  return Number.isSafeInteger(length) ? length : undefined;
}
