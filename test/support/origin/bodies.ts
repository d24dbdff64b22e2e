import { createGzip } from 'node:zlib';
import type { Span } from '../../../src/blob/span.ts';
import { type Content, streamContent } from './content.ts';
import type { Exchange, Headers } from './exchange.ts';
import { contentRange, requestedSpan } from './ranges.ts';

/** Answers a GET or HEAD of a blob by RFC 9110 §14, as far as the fault lets it. */
export async function answerContent(exchange: Exchange, content: Content, headers: Headers): Promise<void> {
  const { action } = exchange;
  const etag = `"${content.digest}"`;
  const common: Headers = { ...headers, 'Accept-Ranges': 'bytes', ETag: etag };
  if (exchange.request.headers['if-none-match'] === etag) return exchange.answer(304, common, 0, []);
  const conditional = exchange.request.headers['if-range'];
  const asked =
    action.ignoreRange || (conditional !== undefined && conditional !== etag)
      ? 'whole'
      : (action.serveSpan ?? requestedSpan(exchange.record.range, content.size));
  if (asked === 'unsatisfiable') {
    return exchange.error(416, 'RANGE_INVALID', 'no such bytes', {
      'Content-Range': `bytes */${content.size}`,
    });
  }
  if (asked === 'whole') return answerSpan(exchange, content, { start: 0, end: content.size }, 200, common);
  const lie = action.contentRange;
  const told = typeof lie === 'function' ? lie(asked, content.size) : lie;
  return answerSpan(exchange, content, asked, 206, {
    ...common,
    'Content-Range': told ?? contentRange(asked, content.size),
  });
}

async function answerSpan(
  exchange: Exchange,
  content: Content,
  span: Span,
  status: number,
  headers: Headers,
): Promise<void> {
  const { gzip, flipAtOffset } = exchange.action;
  const right = streamContent(content, span);
  const chunks = flipAtOffset === undefined ? right : flipped(right, span.start, flipAtOffset);
  if (!gzip) return exchange.answer(status, headers, span.end - span.start, chunks);
  const packed: Buffer[] = [];
  const packer = createGzip({ level: 1 });
  packer.on('data', (chunk) => packed.push(chunk));
  const ended = new Promise((resolve, reject) => packer.once('end', resolve).once('error', reject));
  for await (const chunk of chunks) packer.write(chunk);
  packer.end();
  await ended;
  const body = Buffer.concat(packed);
  return exchange.answer(status, { ...headers, 'Content-Encoding': 'gzip' }, body.length, [body]);
}

async function* flipped(
  chunks: AsyncIterable<Uint8Array>,
  start: number,
  offset: number,
): AsyncGenerator<Uint8Array> {
  let at = start;
  for await (const chunk of chunks) {
    if (offset >= at && offset < at + chunk.length) {
      const wrong = Buffer.from(chunk);
      wrong[offset - at] = (wrong[offset - at] ?? 0) ^ 0xff;
      yield wrong;
    } else yield chunk;
    at += chunk.length;
  }
}
