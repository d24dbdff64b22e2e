import type { Span } from '../../src/blob/span.ts';

export interface RangePart {
  readonly span: Span;
  /** Of the whole; undefined for `*`. */
  readonly size: number | undefined;
  readonly contentType: string | undefined;
  readonly bytes: Buffer;
}

/** Reads `bytes A-B/SIZE`; null when it is something else. */
export function parseContentRange(value: string | undefined): Pick<RangePart, 'span' | 'size'> | null {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(value ?? '');
  if (match === null) return null;
  return {
    span: { start: Number(match[1]), end: Number(match[2]) + 1 },
    size: match[3] === '*' ? undefined : Number(match[3]),
  };
}

/**
 * Takes a multipart/byteranges body apart (RFC 9110 §14.6, RFC 2046 §5.1), strictly.
 * @throws when a boundary is missing, a part has no Content-Range or is not as long as that says.
 */
export function parseByteRanges(contentType: string | undefined, body: Buffer): RangePart[] {
  const boundary = /^multipart\/byteranges;\s*boundary="?([^";]+)"?/i.exec(contentType ?? '')?.[1];
  if (boundary === undefined) throw new Error(`not multipart/byteranges: ${contentType}`);
  const delimiter = Buffer.from(`\r\n--${boundary}`);
  const parts: RangePart[] = [];
  const whole = Buffer.concat([Buffer.from('\r\n'), body]);
  let at = whole.indexOf(delimiter);
  for (;;) {
    if (at < 0) throw new Error('no closing boundary');
    at += delimiter.length;
    if (whole.subarray(at, at + 2).toString() === '--') return parts;
    const headEnd = whole.indexOf('\r\n\r\n', at);
    if (headEnd < 0) throw new Error('a part without an end of its head');
    const lines = whole
      .subarray(at + 2, headEnd)
      .toString('latin1')
      .split('\r\n');
    const field = (name: string) =>
      lines
        .find((line) => line.toLowerCase().startsWith(`${name}:`))
        ?.slice(name.length + 1)
        .trim();
    const range = parseContentRange(field('content-range'));
    if (range === null) throw new Error(`a part without a Content-Range: ${lines.join(' | ')}`);
    const start = headEnd + 4;
    const end = start + range.span.end - range.span.start;
    if (!whole.subarray(end, end + delimiter.length).equals(delimiter)) {
      throw new Error(`the part ${range.span.start}-${range.span.end - 1} is not as long as it says`);
    }
    parts.push({ ...range, contentType: field('content-type'), bytes: whole.subarray(start, end) });
    at = end;
  }
}
