import { LRUCache } from 'lru-cache';
import type { OriginId } from '../blob/upstream.ts';
import { DamselflyError } from '../errors.ts';
import { isLoopbackHost } from './address-rule.ts';
import type { Route } from './pools.ts';
import { hostOf } from './proxy-env.ts';

/** One entry of `origins` (see the configuration's schema for the meaning of each key). */
export interface OriginEntry {
  /** `host`, `host:port`, `*.domain`, `*.domain:port`; without a port the scheme's default one is meant. */
  readonly host: string;
  readonly names: readonly string[];
  readonly url?: string | undefined;
  readonly insecure: boolean;
  /** PEM text. */
  readonly ca?: string | undefined;
  readonly credentialsFile?: string | undefined;
  readonly proxy?: string | undefined;
  readonly share: boolean;
}

export interface DirectoryOptions {
  readonly origins: readonly OriginEntry[];
  readonly defaultOrigin?: string | undefined;
  readonly allowOrigins: 'any' | 'listed';
  /** `proxy.listeners[].origin`. */
  readonly listenerOrigins?: readonly string[] | undefined;
}

/** What is configured for one origin. */
export interface OriginSettings {
  readonly origin: OriginId;
  /** Where its requests go: no trailing slash; a path of `origins[].url` goes before `/v2/`. */
  readonly baseUrl: string;
  /** `origins[].url` sends its requests elsewhere. */
  readonly redirected: boolean;
  /** Plain http by policy. */
  readonly insecure: boolean;
  readonly credentialsFile: string | undefined;
  /** Its blobs may be offered to peers. */
  readonly share: boolean;
  /** Named by the operator, wildcards included. */
  readonly listed: boolean;
}

interface Authority {
  readonly host: string;
  /** Undefined when none was written. */
  readonly port: string | undefined;
  readonly scheme: 'http' | 'https' | undefined;
}

interface Entry {
  readonly options: OriginEntry;
  readonly authority: Authority;
  readonly wildcard: boolean;
}

/** Clients may name any origin. */
const MAX_REMEMBERED = 1_000;

const DOCKER_HUB = 'registry-1.docker.io';
/** What people call Docker Hub; the first two answer no registry requests themselves. */
const DOCKER_HUB_NAMES: ReadonlySet<string> = new Set(['docker.io', 'index.docker.io', DOCKER_HUB]);

/** Who is meant by a text or a Host name, and what is configured for it. Immutable; all from memory. */
export class OriginDirectory {
  readonly #entries: readonly Entry[];
  readonly #allowAny: boolean;
  /** `host:port` of everything that is listed without a wildcard. */
  readonly #listed: ReadonlySet<string>;
  /** `host:port` of the default origin and of listeners' origins that are written with http. */
  readonly #plain: ReadonlySet<string>;
  readonly #named: ReadonlySet<string>;
  readonly #byName = new Map<string, OriginId>();
  readonly #default: OriginId | undefined;
  /** Looked up several times for every piece; parsing and matching cost 10 µs each time. */
  readonly #settings = new LRUCache<OriginId, OriginSettings>({ max: MAX_REMEMBERED });

  constructor(options: DirectoryOptions) {
    this.#allowAny = options.allowOrigins === 'any';
    this.#entries = options.origins.map((entry) => {
      return { options: entry, authority: configured(entry.host), wildcard: entry.host.includes('*') };
    });
    const first = options.defaultOrigin === undefined ? undefined : configured(options.defaultOrigin);
    const own = (options.listenerOrigins ?? []).map(configured);
    if (first !== undefined) own.push(first);
    this.#plain = new Set(own.filter((a) => a.scheme === 'http').map((a) => keyOf(a, 'http')));
    this.#named = new Set(own.map((a) => keyOf(a, a.scheme ?? 'https')));
    this.#listed = new Set([...this.#named, ...this.#entries.flatMap(listedKeys)]);
    for (const entry of this.#entries) {
      if (entry.wildcard) continue;
      const origin = this.#identify(entry.authority);
      for (const name of entry.options.names) this.#byName.set(name.toLowerCase(), origin);
    }
    this.#default = first === undefined ? undefined : this.#identify(first);
  }

  get defaultOrigin(): OriginId | undefined {
    return this.#default;
  }

  /**
   * The origin that a host, host:port or URL names, as `ns`, `X-Dragonfly-Registry`, a listener or an absolute-form
   * request line give it. Plain http only where policy says so (`insecure`, or the default or a listener's origin
   * written with http), whatever the text's scheme: an http text else means https at the same port (443 when none is written).
   * @throws DamselflyError `origin-unknown` for a text that names none, `origin-not-listed`.
   */
  resolve(text: string): OriginId {
    const authority = parseAuthority(text);
    if (authority === undefined || authority.host.includes('*')) {
      throw new DamselflyError('origin-unknown', 'The request names no origin that can be understood');
    }
    const origin = this.#identify(authority);
    if (!this.#allowAny && !this.settings(origin).listed) {
      throw new DamselflyError(
        'origin-not-listed',
        `${new URL(origin).host} is not in origins; list it, or set proxy.allowOrigins to "any"`,
        { facts: { origin } },
      );
    }
    return origin;
  }

  /** The origin that a Host header means by `origins[].names`, with or without the port that it was sent with. */
  byHostName(host: string): OriginId | undefined {
    const name = host.toLowerCase();
    return this.#byName.get(name) ?? this.#byName.get(name.replace(/:\d+$/, ''));
  }

  settings(origin: OriginId): OriginSettings {
    const known = this.#settings.get(origin);
    if (known !== undefined) return known;
    const settings = this.#look(origin);
    this.#settings.set(origin, settings);
    return settings;
  }

  #look(origin: OriginId): OriginSettings {
    const url = new URL(origin);
    const entry = this.#entryOf(authorityOf(url));
    return {
      origin,
      baseUrl: (entry?.options.url ?? origin).replace(/\/+$/, ''),
      redirected: entry?.options.url !== undefined,
      insecure: url.protocol === 'http:',
      credentialsFile: entry?.options.credentialsFile,
      share: entry?.options.share ?? true,
      listed: entry !== undefined || this.#named.has(keyOfUrl(url)),
    };
  }

  /** How a URL is reached: an origin's own, or where one redirects to. */
  route(url: URL): Route {
    const entry =
      this.#entryOf(authorityOf(url)) ??
      this.#entries.find(({ options }) => options.url !== undefined && sameHost(options.url, url));
    return {
      ca: entry?.options.ca,
      proxy: entry?.options.proxy,
      listed: this.#isListed(url),
    };
  }

  /**
   * Where an absolute-form or prefix URL really goes. With `secure` (a `/v2/` path, or a credential on board) it goes
   * by https unless policy says plain http; else as it is written. Path and query stay byte for byte.
   * @throws as {@link resolve}.
   */
  target(url: string, secure: boolean): { origin: OriginId; url: string } {
    const match = /^(https?):\/\/([^/?#]*)(.*)$/is.exec(url);
    const [, scheme, authority, rest] = match ?? [];
    if (scheme === undefined || authority === undefined || rest === undefined) {
      throw new DamselflyError('request-malformed', 'The URL is not an absolute http or https one');
    }
    const tail = rest.replace(/#.*$/s, '');
    const path = tail.startsWith('/') ? tail : `/${tail}`;
    const origin = this.resolve(`${scheme}://${authority}`);
    const settings = this.settings(origin);
    const asWritten = !secure && scheme.toLowerCase() === 'http' && !settings.redirected;
    return { origin, url: asWritten ? `http://${authority}${path}` : `${settings.baseUrl}${path}` };
  }

  /** Whether policy has this URL's host and port speak plain http: a credential may go there without TLS. */
  isPlain(url: URL): boolean {
    return this.#identify(authorityOf(url)).startsWith('http:');
  }

  #identify(authority: Authority): OriginId {
    if (DOCKER_HUB_NAMES.has(authority.host) && (authority.port ?? '443') === '443') {
      return `https://${DOCKER_HUB}` as OriginId;
    }
    const plain =
      this.#entryOf(authority)?.options.insecure === true || this.#plain.has(keyOf(authority, 'http'));
    const scheme = plain ? 'http' : 'https';
    const port = authority.port ?? DEFAULT_PORTS[scheme];
    const shown = port === DEFAULT_PORTS[scheme] ? '' : `:${port}`;
    return `${scheme}://${bracketed(authority.host)}${shown}` as OriginId;
  }

  /** An exact entry before a wildcard one, the longest wildcard first. */
  #entryOf(authority: Authority): Entry | undefined {
    const fitting = this.#entries.filter((entry) => covers(entry, authority));
    return (
      fitting.find((entry) => !entry.wildcard) ??
      fitting.sort((a, b) => b.authority.host.length - a.authority.host.length)[0]
    );
  }

  #isListed(url: URL): boolean {
    const port = url.port || DEFAULT_PORTS[url.protocol === 'http:' ? 'http' : 'https'];
    const host = hostOf(url);
    if (this.#listed.has(`${host}:${port}`)) return true;
    // The names of this machine's own loopback interface are one.
    return isLoopbackHost(host) && LOOPBACK_NAMES.some((name) => this.#listed.has(`${name}:${port}`));
  }
}

const DEFAULT_PORTS = { http: '80', https: '443' } as const;
const LOOPBACK_NAMES = ['127.0.0.1', '::1', 'localhost'] as const;

/** @returns undefined for what names no http(s) authority: other schemes, user info, a path without a host. */
function parseAuthority(text: string): Authority | undefined {
  const match = /^(?:(https?):\/\/)?([^/?#\s@\\]+)(?:[/?#].*)?$/is.exec(text.trim());
  const [, scheme, authority] = match ?? [];
  if (authority === undefined) return undefined;
  // The URL parser would drop a default port that was written, and it matters here.
  const [, name = '', port] = /^(.*?)(?::(\d+))?$/s.exec(authority) ?? [];
  const host = name.includes('*') ? wildcardHost(name) : plainHost(name);
  if (host === undefined || (port !== undefined && Number(port) > 65_535)) return undefined;
  return {
    host: host === 'docker.io' || host === 'index.docker.io' ? DOCKER_HUB : host,
    port: port === undefined ? undefined : String(Number(port)),
    scheme: scheme?.toLowerCase() as Authority['scheme'],
  };
}

function wildcardHost(name: string): string | undefined {
  return /^[a-z0-9.*_-]+$/i.test(name) ? name.toLowerCase() : undefined;
}

/** As URLs spell it: lower case, punycode, addresses in their shortest form, IPv6 without brackets. */
function plainHost(name: string): string | undefined {
  const probe = `http://${name}`;
  if (name.endsWith(':') || !URL.canParse(probe)) return undefined;
  return hostOf(new URL(probe)) || undefined;
}

function authorityOf(url: URL): Authority {
  const scheme = url.protocol === 'http:' ? 'http' : 'https';
  return { host: hostOf(url), port: url.port || DEFAULT_PORTS[scheme], scheme };
}

function keyOf(authority: Authority, scheme: 'http' | 'https'): string {
  return `${authority.host}:${authority.port ?? DEFAULT_PORTS[scheme]}`;
}

function keyOfUrl(url: URL): string {
  return keyOf(authorityOf(url), 'https');
}

function listedKeys({ options, authority, wildcard }: Entry): string[] {
  const keys = wildcard ? [] : [keyOf(authority, options.insecure ? 'http' : 'https')];
  const target = options.url === undefined ? undefined : parseAuthority(options.url);
  if (target !== undefined) keys.push(keyOf(target, target.scheme ?? 'https'));
  return keys;
}

/** An entry without a port covers the default one of the scheme that is spoken there by policy, and texts without a port. */
function covers(entry: Entry, authority: Authority): boolean {
  const { host, port } = entry.authority;
  const standard = DEFAULT_PORTS[entry.options.insecure ? 'http' : 'https'];
  const portFits =
    authority.port === undefined ? (port ?? standard) === standard : authority.port === (port ?? standard);
  if (!portFits) return false;
  if (!entry.wildcard) return host === authority.host;
  const pattern = host
    .split('*')
    .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('.+');
  return new RegExp(`^${pattern}$`).test(authority.host);
}

function sameHost(text: string, url: URL): boolean {
  const authority = parseAuthority(text);
  return authority !== undefined && keyOf(authority, authority.scheme ?? 'https') === keyOfUrl(url);
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function configured(text: string): Authority {
  const authority = parseAuthority(text);
  if (authority !== undefined) return authority;
  throw new DamselflyError('config-invalid', `"${text}" is no host, host:port or URL of an origin`);
}
