/** Header lines as they are on the wire: name, value, name, value …, in their order and spelling, repeats kept. */
export type RawHeaders = readonly string[];

/**
 * RFC 9110 §7.6.1: meant for the next hop only. Proxy-Authorization and Proxy-Authenticate (§11.7) are between a client
 * and this proxy. Trailer announces what we do not relay.
 */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** The first line of that name, or undefined. `name` is in lower case. */
export function headerValue(headers: RawHeaders, name: string): string | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i]?.toLowerCase() === name) return headers[i + 1];
  }
  return undefined;
}

/** Every line of that name, in order. `name` is in lower case. */
export function headerValues(headers: RawHeaders, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const value = headers[i + 1];
    if (headers[i]?.toLowerCase() === name && value !== undefined) values.push(value);
  }
  return values;
}

function filterHeaders(headers: RawHeaders, keep: (lowerName: string) => boolean): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (keep(name.toLowerCase())) kept.push(name, headers[i + 1] ?? '');
  }
  return kept;
}

/** Names that a Connection header adds to the hop-by-hop ones (RFC 9110 §7.6.1). */
function connectionOptions(headers: RawHeaders): ReadonlySet<string> {
  const names = new Set<string>();
  for (const line of headerValues(headers, 'connection')) {
    for (const name of line.split(',')) names.add(name.trim().toLowerCase());
  }
  return names;
}

/**
 * What a response may carry to whoever asked us. Dragonfly's and our own lines say what a proxy did, and an origin's (a
 * node in front of it, or somebody who pretends) would be taken for our word: nydusd stops at a 403 of a proxy.
 */
export function withoutHopByHop(headers: RawHeaders): string[] {
  const named = connectionOptions(headers);
  return filterHeaders(headers, (name) => !HOP_BY_HOP.has(name) && !named.has(name) && !isProxyLine(name));
}

function isProxyLine(name: string): boolean {
  return name.startsWith('x-dragonfly-') || name.startsWith('x-damselfly-');
}

/**
 * What of a client's request goes on to an origin: everything but hop-by-hop, our own and Dragonfly's headers, Host
 * (it becomes the origin's) and Expect (this hop's server has answered it).
 */
export function forwardableHeaders(headers: RawHeaders): string[] {
  const named = connectionOptions(headers);
  return filterHeaders(
    headers,
    (name) =>
      !HOP_BY_HOP.has(name) && !named.has(name) && name !== 'host' && name !== 'expect' && !isProxyLine(name),
  );
}

/** The same lines as one entry per name: proxies' client libraries take no repeated names in a list. */
export function asRecord(headers: RawHeaders): Record<string, string | string[]> {
  const spelling = new Map<string, string>();
  const record: Record<string, string | string[]> = Object.create(null);
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    const value = headers[i + 1] ?? '';
    const first = spelling.get(name.toLowerCase());
    if (first === undefined) {
      spelling.set(name.toLowerCase(), name);
      record[name] = value;
    } else {
      const before = record[first];
      record[first] = Array.isArray(before) ? [...before, value] : [before ?? '', value];
    }
  }
  return record;
}

/** A request that carries a body says so (RFC 9112 §6). */
export function announcesBody(headers: RawHeaders): boolean {
  const length = headerValue(headers, 'content-length');
  if (length !== undefined) return Number(length) > 0;
  return headerValue(headers, 'transfer-encoding') !== undefined;
}
