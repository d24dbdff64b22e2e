import { LRUCache } from 'lru-cache';
import type { Digest } from '../blob/digest.ts';
import type { Upstream } from '../blob/upstream.ts';
import { DamselflyError } from '../errors.ts';
import type { RawHeaders } from './headers.ts';
import { discard, type Reply } from './reply.ts';

/** As many as containerd, SOCI and curl's callers follow. */
const MAX_REDIRECTS = 10;
/** Signed URLs that are remembered; about 1 KiB each. */
const MAX_SIGNED_URLS = 4_096;
/** Object stores sign for minutes to hours; ours must not be used much longer than the blob is being read. */
const SIGNED_URL_TTL_MS = 10 * 60_000;

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

function isRedirect(status: number): boolean {
  return REDIRECTS.has(status);
}

export interface Followed {
  readonly reply: Reply;
  /** Where the reply came from. */
  readonly url: string;
  /** At least one redirect was followed. */
  readonly moved: boolean;
}

/**
 * Asks for `url` and follows redirects, absolute and relative. Credentials go on only to the same scheme, host and port
 * as they were meant for; everything else of the request stays as it is (its method is GET or HEAD, for which all five
 * statuses mean the same).
 * @param headers the credential is meant for `home`, a URL of its origin.
 * @param ask sends one request: to that URL, with these headers.
 * @throws DamselflyError `origin-broken` for a loop, more than {@link MAX_REDIRECTS}, or no usable Location.
 */
export async function follow(
  url: string,
  headers: { readonly common: RawHeaders; readonly credential: RawHeaders; readonly home: string },
  ask: (url: string, headers: RawHeaders) => Promise<Reply>,
): Promise<Followed> {
  const home = new URL(headers.home).origin;
  const seen = new Set<string>();
  let at = url;
  for (let hops = 0; ; hops++) {
    seen.add(at);
    const mayKnow = new URL(at).origin === home;
    const reply = await ask(at, mayKnow ? [...headers.common, ...headers.credential] : headers.common);
    if (!isRedirect(reply.status)) return { reply, url: at, moved: hops > 0 };
    const location = reply.header('location');
    discard(reply.body);
    if (location === undefined) throw broken(at, 'redirects without a Location');
    const next = resolveLocation(location, at);
    if (next === undefined) throw broken(at, 'redirects to what is no http(s) URL');
    if (seen.has(next)) throw broken(at, 'redirects in a loop');
    if (hops + 1 > MAX_REDIRECTS) throw broken(at, `redirects more than ${MAX_REDIRECTS} times`);
    at = next;
  }
}

/**
 * An absolute Location goes out as it is spelt, since its path may be signed; a relative one is resolved (RFC 3986 §5).
 * @returns undefined for what is no http or https URL; user info in one is dropped, it is nobody's credential here.
 */
function resolveLocation(location: string, base: string): string | undefined {
  if (!URL.canParse(location, base)) return undefined;
  const url = new URL(location, base);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return undefined;
  if (/^https?:\/\/[^/?#@\\]+[/?][!-\xff]*$/i.test(location)) return location.replace(/#.*$/, '');
  url.username = '';
  url.password = '';
  url.hash = '';
  return url.href;
}

function broken(url: string, what: string): DamselflyError {
  const { host } = new URL(url);
  return new DamselflyError('origin-broken', `${host} ${what}`, { facts: { host } });
}

/** Where blobs were last redirected to, so that each range need not ask the registry again. */
export class SignedUrls {
  readonly #urls: LRUCache<string, string>;

  constructor(maxUrls: number = MAX_SIGNED_URLS) {
    this.#urls = new LRUCache<string, string>({ max: maxUrls, ttl: SIGNED_URL_TTL_MS });
  }

  get(upstream: Upstream, digest: Digest): string | undefined {
    return this.#urls.get(keyOf(upstream, digest));
  }

  set(upstream: Upstream, digest: Digest, url: string): void {
    this.#urls.set(keyOf(upstream, digest), url);
  }

  forget(upstream: Upstream, digest: Digest): void {
    this.#urls.delete(keyOf(upstream, digest));
  }
}

function keyOf(upstream: Upstream, digest: Digest): string {
  return `${upstream.origin} ${upstream.repository} ${digest}`;
}
