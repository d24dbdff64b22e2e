import type { Dispatcher } from 'undici';
import { type ExchangeRequest, exchange as right } from '../../../src/origin/exchange.ts';
import type { Reply } from '../../../src/origin/reply.ts';

export * from '../../../src/origin/exchange.ts';

export function exchange(dispatcher: Dispatcher, request: ExchangeRequest): Promise<Reply> {
  const { headers } = request;
  const asked = Array.isArray(headers)
    ? headers.map((part) => (part === 'identity' ? 'gzip' : part))
    : headers;
  return right(dispatcher, { ...request, headers: asked });
}
