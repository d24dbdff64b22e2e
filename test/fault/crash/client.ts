import type { Span } from '../../../src/blob/span.ts';
import { httpGet } from '../../support/http-get.ts';
import { seededBytes } from '../../support/origin.ts';
import type { Random } from '../../support/random.ts';
import type { Book, CrashBlob } from './book.ts';

/** What came of one read, told by the plain generator of the blob's bytes. */
export interface ReadOutcome {
  readonly bytes: number;
  readonly complete: boolean;
  /** 0: no head. */
  readonly status: number;
  /** Where the first wrong byte or label was; undefined: all right. */
  readonly wrong: string | undefined;
}

/** Reads `span` (the whole blob: without a Range) and compares each chunk as it comes. */
export async function checkedRead(
  url: string,
  blob: CrashBlob,
  span: Span,
  options: { readonly book?: Book; readonly abortAfterBytes?: number; readonly isOpen?: boolean } = {},
): Promise<ReadOutcome> {
  const whole = span.start === 0 && span.end === blob.size;
  let position = span.start;
  let wrong: string | undefined;
  const headers: Record<string, string> = whole
    ? {}
    : { Range: `bytes=${span.start}-${options.isOpen === true ? '' : span.end - 1}` };
  let isBody = false;
  try {
    const answer = await httpGet(url + blob.path, {
      headers,
      timeoutMs: 30_000,
      ...(options.abortAfterBytes === undefined ? {} : { abortAfterBytes: options.abortAfterBytes }),
      onHead: ({ statusCode, headers: got }) => {
        isBody = statusCode === (whole ? 200 : 206);
        const range = whole ? undefined : `bytes ${span.start}-${span.end - 1}/${blob.size}`;
        if (
          isBody &&
          (got['content-range'] !== range || got['content-length'] !== `${span.end - span.start}`)
        )
          wrong = `labelled ${got['content-range']}, ${got['content-length']} bytes`;
      },
      onChunk: (chunk) => {
        if (!isBody || chunk.length === 0) return;
        const end = position + chunk.length;
        if (end > span.end) wrong ??= `more than asked for: ${end} of ${span.end}`;
        else if (!chunk.equals(seededBytes(blob.seed, { start: position, end })))
          wrong ??= `in ${position}-${end}`;
        position = end;
        options.book?.had(blob, { start: span.start, end });
      },
    });
    const bytes = isBody ? answer.bytes : 0;
    if (answer.complete && isBody && bytes !== span.end - span.start) wrong ??= `ended short after ${bytes}`;
    if (!isBody && answer.status < 500) wrong ??= `status ${answer.status}`;
    return { bytes, complete: answer.complete && isBody, status: answer.status, wrong };
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    return { bytes: 0, complete: false, status: 0, wrong };
  }
}

/** A read as some client makes it: whole, a short range, a lazy client's, or an open one that hangs up. */
export function randomRead(random: Random, url: string, blob: CrashBlob, book: Book): Promise<ReadOutcome> {
  const dice = random.next();
  if (dice < 0.4) return checkedRead(url, blob, { start: 0, end: blob.size }, { book });
  const start = random.integer(0, blob.size);
  if (dice < 0.6) {
    const isOpen = start > 0;
    const abortAfterBytes = random.integer(1, 6 << 20);
    return checkedRead(url, blob, { start, end: blob.size }, { book, isOpen, abortAfterBytes });
  }
  const length = random.integer(1, random.pick([4096, 300_000, 3 << 20]));
  return checkedRead(url, blob, { start, end: Math.min(blob.size, start + length) }, { book });
}
