import { read } from 'node:fs';
import { promisify } from 'node:util';
import { type Chunk, type FileSlice, isFileSlice } from '../blob/source.ts';
import { type Span, spanLength } from '../blob/span.ts';
import { DamselflyError } from '../errors.ts';

const readAsync = promisify(read);

/** Gathers the bytes of one piece or manifest into a buffer; never meant for whole blobs. @throws when they are not exactly `span`. */
export async function collect(
  read: { readonly chunks: AsyncIterable<Chunk>; close?(): void },
  span: Span,
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(spanLength(span));
  let at = 0;
  try {
    for await (const chunk of read.chunks) {
      if (at + chunk.length > bytes.length) throw tooMuchOrTooLittle(span);
      if (isFileSlice(chunk)) await readSlice(chunk, bytes, at);
      else bytes.set(chunk, at);
      at += chunk.length;
    }
  } finally {
    read.close?.();
  }
  if (at !== bytes.length) throw tooMuchOrTooLittle(span);
  return bytes;
}

/**
 * Reads a slice of a file to `at` of `into`, and lets go of the file.
 * @throws DamselflyError store-corrupt when the file has become shorter.
 */
export async function readSlice(slice: FileSlice, into: Buffer, at: number): Promise<void> {
  try {
    for (let done = 0; done < slice.length; ) {
      const { bytesRead } = await readAsync(
        slice.fd,
        into,
        at + done,
        slice.length - done,
        slice.offset + done,
      );
      if (bytesRead === 0)
        throw new DamselflyError('store-corrupt', 'A cached file ended before its piece did');
      done += bytesRead;
    }
  } finally {
    slice.release();
  }
}

function tooMuchOrTooLittle(span: Span): DamselflyError {
  return new DamselflyError('internal', 'A source delivered another length than it said', {
    facts: { start: span.start, end: span.end },
  });
}
