import type { IncomingHttpHeaders } from 'node:http';
import { DamselflyError } from '../errors.ts';
import type { Authority, NamedOrigin, Scheme } from './authority.ts';
import { parseAuthority, parseNamedOrigin } from './authority.ts';
import { takeNamespace } from './namespace.ts';
import { isPingPath } from './pings.ts';
import type { Resource } from './resource.ts';
import { parseResource } from './resource.ts';

/** A request line and headers, as node:http gives them. */
export interface RawRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: IncomingHttpHeaders;
  /** Name, value, name, value …: node:http keeps only the first Host line in `headers`. */
  readonly rawHeaders: readonly string[];
}

interface Asked {
  /** `other` for every method but GET and HEAD, whatever the path. */
  readonly resource: Resource;
  /** Path and query for the origin's request line: the client's bytes, less `ns`. Starts with `/`. Never log it. */
  readonly target: string;
}

/** `GET /v2/…`: who the origin is, is told by the first of these that there is, else by the listener or a default. */
export interface MirrorRequest extends Asked {
  readonly form: 'mirror';
  /** From `X-Dragonfly-Registry`. */
  readonly registry: NamedOrigin | undefined;
  /** From the query `ns`, and the text to echo as OCI-Namespace when it was used. */
  readonly namespace: { readonly origin: NamedOrigin; readonly text: string } | undefined;
  /** From the Host header; undefined when there is none, or it is not a host. */
  readonly host: Authority | undefined;
}

/** `GET http://host/…` (RFC 9112 §3.2.2): the URL alone names the origin, the Host header is not looked at. */
export interface AbsoluteRequest extends Asked {
  readonly form: 'absolute';
  readonly scheme: Scheme;
  readonly authority: Authority;
}

/** `GET /<prefix>/http(s)://host/…` of overlaybd. */
export interface PrefixRequest extends Asked {
  readonly form: 'prefix';
  /** What precedes the URL, without the slash between them: `/dadip2p`, or empty. */
  readonly prefix: string;
  readonly scheme: Scheme;
  readonly authority: Authority;
}

export type Ingress =
  | { readonly form: 'ping' }
  | MirrorRequest
  | AbsoluteRequest
  | PrefixRequest
  /** `CONNECT host:port` (RFC 9112 §3.2.3). */
  | { readonly form: 'authority'; readonly authority: Authority & { readonly port: number } }
  /** `OPTIONS *` (RFC 9112 §3.2.4). */
  | { readonly form: 'asterisk' };

const ABSOLUTE = /^(https?):\/\//i;
const PREFIXED = /\/(https?):\/\//;

/**
 * Tells the forms of request on the proxy port apart. Nothing is decoded or normalised (`//`, dots and percent signs
 * are the origin's business). Pure; costs about a microsecond.
 * @throws DamselflyError `request-malformed`, and nothing else whatever the input.
 */
export function parseIngress(request: RawRequest): Ingress {
  const { method = 'GET', url = '' } = request;
  if (method === 'CONNECT') return connectRequest(url);
  if (url === '*') {
    if (method === 'OPTIONS') return { form: 'asterisk' };
    throw malformed('the request target "*" goes with OPTIONS only');
  }
  if (hasTwoHosts(request.rawHeaders)) throw malformed('there is more than one Host header');
  if (url.startsWith('/')) {
    if (isPingPath(url) && isRead(method)) return { form: 'ping' };
    return prefixRequest(method, url) ?? mirrorRequest(method, url, request.headers);
  }
  const match = ABSOLUTE.exec(url);
  if (match === null) throw malformed('the request target is neither a path nor an http:// or https:// URL');
  return { form: 'absolute', ...absoluteUrl(method, url, match[1]) };
}

/**
 * A request inside an intercepted tunnel: the tunnel's target is its origin by https, whatever its Host, `ns` or
 * X-Dragonfly-Registry say, and its path is that origin's, also where it looks like another form.
 * @throws DamselflyError `request-malformed`, also for an absolute URL of another origin.
 */
export function parseTunnelled(request: RawRequest, tunnel: Authority & { readonly port: number }): Ingress {
  const { method = 'GET', url = '' } = request;
  const at = `https://${tunnel.host}:${tunnel.port}`;
  if (!url.startsWith('/')) {
    const ingress = parseIngress(request);
    if (ingress.form !== 'absolute') throw malformed('this request target is not possible inside a tunnel');
    const { host, port = ingress.scheme === 'https' ? 443 : 80 } = ingress.authority;
    if (ingress.scheme !== 'https' || host !== tunnel.host || port !== tunnel.port)
      throw malformed("the URL is not one of the tunnel's target");
    return ingress;
  }
  if (hasTwoHosts(request.rawHeaders)) throw malformed('there is more than one Host header');
  return { form: 'absolute', ...absoluteUrl(method, `${at}${url}`, 'https') };
}

function connectRequest(url: string): Ingress {
  const authority = parseAuthority(url);
  if (authority?.port === undefined) throw malformed('CONNECT needs host:port');
  return { form: 'authority', authority: { host: authority.host, port: authority.port } };
}

function prefixRequest(method: string, url: string): PrefixRequest | null {
  const match = PREFIXED.exec(url);
  if (match === null) return null;
  // A URL inside the query is an argument of some other request, not what is asked for.
  const query = url.indexOf('?');
  if (query >= 0 && query < match.index) return null;
  return {
    form: 'prefix',
    prefix: url.slice(0, match.index),
    ...absoluteUrl(method, url.slice(match.index + 1), match[1]),
  };
}

function mirrorRequest(method: string, url: string, headers: IncomingHttpHeaders): MirrorRequest {
  const { target, namespace } = takeNamespace(url);
  const registry = single(headers['x-dragonfly-registry']);
  return {
    form: 'mirror',
    resource: resourceOf(method, target),
    target,
    registry: registry === undefined ? undefined : parseNamedOrigin(registry, 'X-Dragonfly-Registry'),
    namespace:
      namespace === undefined
        ? undefined
        : { origin: parseNamedOrigin(namespace, 'the query ns'), text: namespace.trim() },
    host: headers.host === undefined ? undefined : (parseAuthority(headers.host) ?? undefined),
  };
}

function absoluteUrl(
  method: string,
  url: string,
  schemeText: string | undefined,
): Asked & { readonly scheme: Scheme; readonly authority: Authority } {
  const start = url.indexOf('//') + 2;
  const length = url.slice(start).search(/[/?#]/);
  const end = length < 0 ? url.length : start + length;
  const authority = parseAuthority(url.slice(start, end));
  if (authority === null) throw malformed('the URL has no usable host (user information is not taken)');
  const rest = url.slice(end);
  const target = rest.startsWith('/') ? rest : `/${rest}`;
  return {
    scheme: schemeText?.toLowerCase() === 'https' ? 'https' : 'http',
    authority,
    target,
    resource: resourceOf(method, target),
  };
}

function resourceOf(method: string, target: string): Resource {
  if (!isRead(method)) return { kind: 'other' };
  const query = target.indexOf('?');
  return parseResource(query < 0 ? target : target.slice(0, query));
}

/** RFC 9112 §3.2: answered with 400, since whoever stands in front of us may have looked at the other one. */
function hasTwoHosts(rawHeaders: readonly string[]): boolean {
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  return hosts > 1;
}

function isRead(method: string): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** An empty value is as if the header were not there; several make one that names no origin. */
function single(value: string | string[] | undefined): string | undefined {
  const text = Array.isArray(value) ? value.join(', ') : value;
  return text === '' ? undefined : text;
}

function malformed(message: string): DamselflyError {
  return new DamselflyError('request-malformed', message);
}
