import { type ClientRequest, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect, isIP, type Socket } from 'node:net';
import { DamselflyError } from '../errors.ts';
import { checkProxied, guardedLookup, permitter, unreachable } from './connector.ts';
import { NameResolver } from './name-resolver.ts';
import type { OriginDirectory } from './origin-directory.ts';
import { hostOf, type ProxyForUrl, proxyFromEnvironment } from './proxy-env.ts';

/** Name, TCP and a proxy's answer: nydusd gives up at 5 s and then goes to the origin by itself. */
export const DIAL_TIMEOUT_MS = 4_000;

export interface DialerOptions {
  readonly directory: Pick<OriginDirectory, 'route'>;
  readonly onForbidden: () => void;
  readonly resolver?: Pick<NameResolver, 'resolve'> | undefined;
  readonly proxyForUrl?: ProxyForUrl | undefined;
  readonly timeoutMs?: number | undefined;
}

/** A connection that is open, half-closable, and not read from yet. */
export interface Dialed {
  readonly socket: Socket;
  /** What came together with the proxy's answer. */
  readonly head: Buffer;
}

/**
 * Opens bare connections for tunnels: under the SSRF rule, and through the proxy that `origins[].proxy` or the
 * environment names for https URLs of that host.
 */
export class Dialer {
  readonly #options: DialerOptions;
  readonly #resolver: Pick<NameResolver, 'resolve'>;
  readonly #proxyForUrl: ProxyForUrl;

  constructor(options: DialerOptions) {
    this.#options = options;
    this.#resolver = options.resolver ?? new NameResolver();
    this.#proxyForUrl = options.proxyForUrl ?? proxyFromEnvironment(process.env);
  }

  /**
   * @param url `https://host:port`, the port left out when it is 443.
   * @throws DamselflyError target-forbidden, origin-unreachable, origin-timeout; the signal's reason.
   */
  async dial(url: URL, signal: AbortSignal): Promise<Dialed> {
    const { directory, onForbidden, timeoutMs = DIAL_TIMEOUT_MS } = this.#options;
    const { proxy: own, listed } = directory.route(url);
    const permit = permitter(listed, onForbidden);
    const host = hostOf(url);
    const port = Number(url.port || 443);
    const proxy = own ?? this.#proxyForUrl(url);
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort(
        new DamselflyError('origin-timeout', `${host} cannot be reached within ${timeoutMs} ms`, {
          facts: { host, port },
        }),
      );
    }, timeoutMs);
    const either = AbortSignal.any([signal, late.signal]);
    try {
      if (proxy !== undefined) {
        checkProxied(host, permit);
        return await this.#throughProxy(new URL(proxy), url, either);
      }
      // A literal address is connected to without a lookup.
      if (isIP(host) !== 0) permit(host, [host]);
      const socket = connect({ host, port, lookup: guardedLookup(this.#resolver, permit), ...TUNNEL });
      return { socket: await opened(socket, host, either), head: Buffer.alloc(0) };
    } finally {
      clearTimeout(timer);
    }
  }

  /** The proxy itself is the operator's word and may be anywhere. */
  #throughProxy(proxy: URL, url: URL, signal: AbortSignal): Promise<Dialed> {
    const authority = `${url.hostname}:${url.port || 443}`;
    const login = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
    const send = proxy.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send({
      method: 'CONNECT',
      host: hostOf(proxy),
      port: proxy.port || (proxy.protocol === 'https:' ? 443 : 80),
      path: authority,
      agent: false,
      lookup: guardedLookup(this.#resolver, (_host, addresses) => addresses),
      headers: {
        Host: authority,
        ...(login === ':' ? {} : { 'Proxy-Authorization': `Basic ${Buffer.from(login).toString('base64')}` }),
      },
      ...TUNNEL,
    });
    return answered(request, hostOf(url), signal);
  }
}

const TUNNEL = { allowHalfOpen: true, noDelay: true, keepAlive: true };

function opened(socket: Socket, host: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const settle = (end: () => void): void => {
      signal.removeEventListener('abort', give);
      end();
    };
    const give = (): void => {
      socket.destroy();
      settle(() => reject(signal.reason));
    };
    // Stays: what comes after this is no failure of the dialling, and its listener is the tunnel's.
    socket.on('error', (error) => settle(() => reject(explained(error, host))));
    socket.once('connect', () => settle(() => resolve(socket)));
    if (signal.aborted) give();
    else signal.addEventListener('abort', give, { once: true });
  });
}

function answered(request: ClientRequest, host: string, signal: AbortSignal): Promise<Dialed> {
  return new Promise((resolve, reject) => {
    const give = (): void => {
      request.destroy();
      reject(signal.reason);
    };
    request.on('error', (error) => {
      signal.removeEventListener('abort', give);
      reject(signal.aborted ? signal.reason : explained(error, host));
    });
    request.once('connect', (response, socket, head) => {
      signal.removeEventListener('abort', give);
      const status = response.statusCode ?? 0;
      if (status >= 200 && status < 300) {
        socket.on('error', () => undefined);
        resolve({ socket, head });
        return;
      }
      socket.destroy();
      reject(unreachable(host, `the proxy on the way answered ${status}`));
    });
    if (signal.aborted) {
      give();
      return;
    }
    signal.addEventListener('abort', give, { once: true });
    request.end();
  });
}

function explained(error: Error, host: string): Error {
  // What the lookup or the SSRF rule said; of several addresses that failed, the first tells.
  if (error instanceof DamselflyError) return error;
  const code = 'code' in error ? String(error.code) : error.name;
  const timedOut = code === 'ETIMEDOUT';
  return new DamselflyError(
    timedOut ? 'origin-timeout' : 'origin-unreachable',
    `${host} cannot be reached: ${code}`,
    { facts: { host, cause: code }, cause: error },
  );
}
