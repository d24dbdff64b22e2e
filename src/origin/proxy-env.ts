import { isLoopbackHost } from './address-rule.ts';

export type ProxyForUrl = (url: URL) => string | undefined;

interface Exception {
  readonly name: string;
  readonly port: string | undefined;
  readonly subdomainsOnly: boolean;
}

/**
 * Which proxy the environment names for a URL: HTTP_PROXY, HTTPS_PROXY (either case, lower wins) and NO_PROXY, a list of
 * `host`, `.domain`, `*.domain`, `host:port` and `*`. Loopback targets never go through one.
 */
export function proxyFromEnvironment(env: Readonly<Record<string, string | undefined>>): ProxyForUrl {
  const read = (name: string): string | undefined => env[name.toLowerCase()] || env[name] || undefined;
  const byScheme: Readonly<Record<string, string | undefined>> = {
    'http:': withScheme(read('HTTP_PROXY')),
    'https:': withScheme(read('HTTPS_PROXY')),
  };
  const exceptions = (read('NO_PROXY') ?? '')
    .split(/[,\s]+/)
    .filter(Boolean)
    .map(parseException);
  return (url) => {
    const proxy = byScheme[url.protocol];
    if (proxy === undefined) return undefined;
    const host = hostOf(url);
    if (isLoopbackHost(host)) return undefined;
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    return exceptions.some((exception) => covers(exception, host, port)) ? undefined : proxy;
  };
}

/** A URL's host without the brackets of IPv6 and the dot of a full name. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
}

function withScheme(proxy: string | undefined): string | undefined {
  if (proxy === undefined) return undefined;
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
}

function parseException(text: string): Exception {
  // An IPv6 address with a port is in brackets; one colon elsewhere is a port.
  const match = /^\[(?<six>[^\]]+)\](?::(?<sixPort>\d+))?$|^(?<name>[^:]+):(?<port>\d+)$/.exec(text);
  const name = (match?.groups?.six ?? match?.groups?.name ?? text).toLowerCase();
  return {
    name: name === '*' ? name : name.replace(/^\*?\./, '').replace(/\.$/, ''),
    port: match?.groups?.sixPort ?? match?.groups?.port,
    subdomainsOnly: name.startsWith('*.'),
  };
}

function covers(exception: Exception, host: string, port: string): boolean {
  if (exception.port !== undefined && exception.port !== port) return false;
  if (exception.name === '*') return true;
  return (host === exception.name && !exception.subdomainsOnly) || host.endsWith(`.${exception.name}`);
}
