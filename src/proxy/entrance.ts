import type { IncomingMessage } from 'node:http';
import type { Digest } from '../blob/digest.ts';
import { parseDigest } from '../blob/digest.ts';
import type { OriginId } from '../blob/upstream.ts';
import type { Authority } from './authority.ts';

/** What is known of a request before it is read: from the listener that it came in on, or the tunnel that it came through. */
export interface Entrance {
  /** Of origin-form requests (`proxy.listeners[].origin`). */
  readonly origin?: OriginId | undefined;
  /** What `/` is (`proxy.listeners[].blob`). */
  readonly blob?: { readonly repository: string; readonly digest: Digest } | undefined;
  /** The target of the intercepted CONNECT: it alone is the origin, whatever the request says. */
  readonly tunnel?: (Authority & { readonly port: number }) | undefined;
}

const HEX_AT_END = /\/([0-9a-f]{64})$/;

/**
 * What nydusd's http-proxy backend asks for on a listener with a blob (clients.md 3.7): `/` over a unix socket; over
 * TCP `<path>/<hex>`, where the hex names any blob of that repository.
 * @returns undefined for every other request.
 */
export function boundBlob(
  request: Pick<IncomingMessage, 'method' | 'url'>,
  blob: Entrance['blob'],
): { readonly repository: string; readonly digest: Digest } | undefined {
  if (blob === undefined || (request.method !== 'GET' && request.method !== 'HEAD')) return undefined;
  const [path = ''] = (request.url ?? '').split('?', 1);
  if (path === '/') return blob;
  // A URL, whole or behind a prefix, names an origin of its own.
  const hex = path.startsWith('/') && !path.includes('://') ? HEX_AT_END.exec(path)?.[1] : undefined;
  const digest = hex === undefined ? null : parseDigest(`sha256:${hex}`);
  return digest === null ? undefined : { repository: blob.repository, digest };
}
