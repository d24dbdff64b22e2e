import type { BlobQuery } from '../../../src/proxy/blob-query.ts';
import type { Call } from '../../../src/proxy/call.ts';

export * from '../../../src/proxy/blob-answer.ts';

export function answerHead(call: Call, query: BlobQuery): void {
  call.writeHead(200, ['Docker-Content-Digest', query.digest]);
  call.response.end();
}
