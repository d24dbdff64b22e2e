import type { Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import { LRUCache } from 'lru-cache';
import type { HostPattern } from '../../config/web.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { CertificateAuthority } from './certificate-authority.ts';
import { TLS_HANDSHAKE_MS } from './http-server.ts';
import type { Adopt, TunnelInterceptor, TunnelTarget } from './tunnel-target.ts';

/** Certificates that are kept, each with its TLS settings; a wildcard lets a client name any number of hosts. */
const MAX_CERTIFICATES = 256;
/** Well before they run out. */
const CERTIFICATE_TTL_MS = 12 * 3_600_000;

export interface InterceptorParts {
  readonly hosts: readonly HostPattern[];
  readonly authority: Pick<CertificateAuthority, 'leaf'>;
  readonly metrics: Metrics;
  /** Tests want them smaller. */
  readonly handshakeMs?: number | undefined;
  readonly maxCertificates?: number | undefined;
}

type Servers = LRUCache<string, Promise<TlsServer>>;

/**
 * Answers TLS handshakes in the name of the hosts of `proxy.intercept`. The certificate is for the target of the
 * CONNECT, whatever the ClientHello names, and that target is the origin of every request that comes inside.
 */
export class Interceptor implements TunnelInterceptor {
  readonly #parts: InterceptorParts;
  readonly #targets = new WeakMap<Socket, TunnelTarget>();
  /** None of them listens: they shake hands on sockets that are given to them. A promise, so that a host is signed for once. */
  readonly #servers = new WeakMap<Adopt, Servers>();

  constructor(parts: InterceptorParts) {
    this.#parts = parts;
  }

  takes(target: TunnelTarget): boolean {
    return this.#parts.hosts.some((pattern) => covers(pattern, target));
  }

  async prepare(target: TunnelTarget, adopt: Adopt): Promise<(socket: Socket) => void> {
    const server = await this.#serverFor(target, adopt);
    return (socket) => {
      // As TLS servers have it: a client that hangs up in its handshake is gone, and does not wait for a deadline.
      socket.allowHalfOpen = false;
      server.emit('connection', socket);
    };
  }

  /** The target of the tunnel that a request came through; undefined when it came through none. */
  targetOf(socket: Socket): TunnelTarget | undefined {
    return this.#targets.get(socket);
  }

  #serverFor(target: TunnelTarget, adopt: Adopt): Promise<TlsServer> {
    let servers = this.#servers.get(adopt);
    if (servers === undefined) {
      servers = new LRUCache({
        max: this.#parts.maxCertificates ?? MAX_CERTIFICATES,
        ttl: CERTIFICATE_TTL_MS,
      });
      this.#servers.set(adopt, servers);
    }
    const key = `${target.host}:${target.port}`;
    const known = servers.get(key);
    if (known !== undefined) return known;
    const made = this.#createServer(target, adopt);
    servers.set(key, made);
    made.catch(() => servers.delete(key));
    return made;
  }

  async #createServer(target: TunnelTarget, adopt: Adopt): Promise<TlsServer> {
    const { authority, metrics, handshakeMs = TLS_HANDSHAKE_MS } = this.#parts;
    const pair = await authority.leaf(bareHost(target.host));
    const server = createTlsServer({ ...pair, ALPNProtocols: ['http/1.1'], handshakeTimeout: handshakeMs });
    server.on('secureConnection', (socket) => {
      this.#targets.set(socket, target);
      adopt(socket);
    });
    server.on('tlsClientError', (_error, socket) => {
      metrics.interceptFailures.inc();
      socket.destroy();
    });
    return server;
  }
}

/** As certificates name it: no brackets, no closing dot. */
function bareHost(host: string): string {
  return host.replace(/^\[|\]$/g, '').replace(/\.$/, '');
}

function covers(pattern: HostPattern, target: TunnelTarget): boolean {
  if ((pattern.port ?? 443) !== target.port) return false;
  const host = bareHost(target.host);
  if (!pattern.wildcard) return pattern.host === host;
  const parts = pattern.host.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.+')}$`).test(host);
}
