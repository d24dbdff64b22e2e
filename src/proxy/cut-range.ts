import type { Readable } from 'node:stream';
import type { Span } from '../blob/span.ts';
import { DamselflyError } from '../errors.ts';
import type { RawHeaders } from '../origin/headers.ts';
import { contentRange } from './headers.ts';
import { parseRangeBeforeSize, resolveRange } from './range.ts';

/** What the client gets of an answer that is passed through. */
export interface Cut {
  readonly status: number;
  readonly rawHeaders: readonly string[];
  /** Of the body; undefined: all of it. */
  readonly span: Span | undefined;
}

/**
 * An origin may answer a range with the whole (RFC 9110 §14.2), and overlaybd and nydus v3 then take its first bytes for
 * those that they asked for (clients.md 6.3, 3.9). So the one range that was asked for is cut out of a whole answer,
 * as a cache may do that had stored it (RFC 9111 §4).
 * @param strict the client is known to misread a whole answer: better none than that.
 * @throws DamselflyError origin-broken when it is strict and nothing can be cut, since the length is not told.
 */
export function cutRange(
  request: {
    readonly method: string | undefined;
    readonly range: string | undefined;
    readonly ifRange: string | undefined;
  },
  answer: {
    readonly status: number;
    readonly rawHeaders: RawHeaders;
    header(name: string): string | undefined;
  },
  strict: boolean,
): Cut {
  const asItIs = { status: answer.status, rawHeaders: answer.rawHeaders, span: undefined };
  if (request.method !== 'GET' || answer.status !== 200 || request.ifRange !== undefined) return asItIs;
  const range = parseRangeBeforeSize(request.range);
  if (range.kind === 'none' || range.specs.length !== 1) return asItIs;
  const length = answer.header('content-length');
  if (length === undefined || !/^\d{1,15}$/.test(length)) {
    if (!strict) return asItIs;
    throw new DamselflyError('origin-broken', 'The origin answered a range with a body of unknown length');
  }
  const size = Number(length);
  const resolved = resolveRange(range, size);
  const lines = without(answer.rawHeaders, 'content-length', 'content-range', 'accept-ranges');
  if (resolved.kind === 'unsatisfiable') {
    const about = ['Content-Length', '0', 'Content-Range', `bytes */${size}`, 'Accept-Ranges', 'bytes'];
    return {
      status: 416,
      rawHeaders: [...without(lines, 'content-type'), ...about],
      span: { start: 0, end: 0 },
    };
  }
  const span = resolved.kind === 'spans' ? resolved.spans[0] : undefined;
  if (span === undefined) return asItIs;
  const about = ['Content-Length', String(span.end - span.start), 'Content-Range', contentRange(span, size)];
  return { status: 206, rawHeaders: [...lines, ...about, 'Accept-Ranges', 'bytes'], span };
}

/** The bytes of a span of a body; what follows it is not waited for. */
export async function* spanOf(body: Readable, span: Span): AsyncGenerator<Buffer, void, void> {
  let at = 0;
  if (span.end <= span.start) return;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    const from = Math.max(span.start - at, 0);
    const wanted = chunk.subarray(from, Math.max(span.end - at, 0));
    at += chunk.length;
    if (wanted.length > 0) yield wanted;
    if (at >= span.end) return;
  }
}

function without(rawHeaders: RawHeaders, ...names: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (!names.includes(rawHeaders[i]?.toLowerCase() ?? ''))
      kept.push(rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '');
  }
  return kept;
}
