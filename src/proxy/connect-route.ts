import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { DamselflyError } from '../errors.ts';
import { clientKind } from '../observe/client-kind.ts';
import type { RequestResult } from '../observe/metrics.ts';
import type { Dialed } from '../origin/dialer.ts';
import type { OriginDirectory } from '../origin/origin-directory.ts';
import type { CallParts } from './call.ts';
import { CLOSE_GRACE_MS, CLOSE_POLL_MS } from './http-server.ts';
import { parseIngress } from './ingress.ts';
import { ownFailure, reportFailure } from './report-failure.ts';
import { errorAnswer } from './respond.ts';
import { Tunnel } from './tunnel.ts';
import type { Adopt, TunnelInterceptor, TunnelTarget } from './tunnel-target.ts';

/** Two descriptors each; far above what the clients of one node open. */
const MAX_TUNNELS = 4_096;
/** A tunnel on which nothing has moved for so long is ended as soon as the node stops: it is a client's idle connection. */
const IDLE_AT_STOP_MS = 500;
/** Time for a client to read why it is turned away (RFC 9112 §9.6). */
const LINGER_MS = 1_000;
const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n';

export interface ConnectParts extends CallParts {
  readonly directory: OriginDirectory;
  readonly dialer: { dial(url: URL, signal: AbortSignal): Promise<Dialed> };
  readonly interceptor?: TunnelInterceptor | undefined;
  /** Tests want them smaller. */
  readonly maxTunnels?: number | undefined;
  readonly idleMs?: number | undefined;
  readonly halfClosedMs?: number | undefined;
}

/** `CONNECT host:port` (RFC 9110 §9.3.6): a blind tunnel, or one that is opened here for the hosts of `proxy.intercept`. */
export class ConnectRoute {
  readonly #parts: ConnectParts;
  readonly #tunnels = new Set<Tunnel>();
  readonly #stop = new AbortController();
  #begun = 0;

  constructor(parts: ConnectParts) {
    this.#parts = parts;
  }

  /** Never throws, never leaves a request unanswered. `Proxy-Authorization` and whatever else came is dropped. */
  async handle(request: IncomingMessage, duplex: Duplex, head: Buffer, adopt: Adopt): Promise<void> {
    const { metrics } = this.#parts;
    const socket = duplex as Socket;
    const client = clientKind(request.headers['user-agent']);
    const count = (result: RequestResult): void => metrics.countRequest(client, result, false);
    const left = new AbortController();
    const onClose = (): void => left.abort(new DOMException('the client hung up', 'AbortError'));
    socket.once('close', onClose);
    socket.on('error', () => socket.destroy());
    this.#begun += 1;
    try {
      const signal = AbortSignal.any([left.signal, this.#stop.signal]);
      const open = await this.#prepare(request, adopt, signal);
      if (socket.destroyed) {
        open.cancel();
        count('aborted');
        return;
      }
      socket.off('close', onClose);
      socket.write(ESTABLISHED);
      open.run(socket, head);
      count('ok');
    } catch (error) {
      if (left.signal.aborted || socket.destroyed) {
        count('aborted');
        return;
      }
      const known = ownFailure(error);
      reportFailure(this.#parts, known, {});
      count(known.status >= 500 ? 'failed' : 'refused');
      refuse(socket, known);
    } finally {
      this.#begun -= 1;
    }
  }

  /** Takes no new tunnels, ends idle ones at once, lets the others be for `graceMs`, then resets them. */
  async close(graceMs: number = CLOSE_GRACE_MS): Promise<void> {
    this.#stop.abort(new DamselflyError('shutting-down', 'The node is stopping'));
    const deadlineMs = performance.now() + graceMs;
    while (this.#tunnels.size > 0 && performance.now() < deadlineMs) {
      for (const tunnel of this.#tunnels) if (tunnel.idleMs >= IDLE_AT_STOP_MS) tunnel.end();
      await delay(CLOSE_POLL_MS);
    }
    const left = [...this.#tunnels];
    for (const tunnel of left) tunnel.cut();
    await Promise.all(left.map((tunnel) => tunnel.closed));
  }

  async #prepare(
    request: IncomingMessage,
    adopt: Adopt,
    signal: AbortSignal,
  ): Promise<{ run(socket: Socket, head: Buffer): void; cancel(): void }> {
    const { directory, dialer, interceptor, metrics, maxTunnels = MAX_TUNNELS } = this.#parts;
    signal.throwIfAborted();
    const target = targetOf(request);
    // Whoever may not be asked for a blob may not be tunnelled to either.
    directory.resolve(`https://${target.host}:${target.port}`);
    if (interceptor?.takes(target)) {
      const take = await interceptor.prepare(target, adopt);
      return {
        run: (socket, head) => {
          metrics.tunnels.inc({ kind: 'intercepted' });
          if (head.length > 0) socket.unshift(head);
          take(socket);
        },
        cancel: () => undefined,
      };
    }
    const url = new URL(`https://${target.host}:${target.port}`);
    if (target.port !== 443 && !directory.route(url).listed) {
      throw new DamselflyError(
        'tunnel-port',
        `A tunnel to port ${target.port} is for listed origins only; list ${url.host} in origins if it is one`,
        { facts: { host: url.host } },
      );
    }
    if (this.#tunnels.size + this.#begun > maxTunnels)
      throw new DamselflyError('tunnels-full', `${maxTunnels} tunnels are open; ask again later`);
    const { socket: origin, head: fromOrigin } = await dialer.dial(url, signal);
    return {
      run: (socket, fromClient) => this.#join(socket, origin, fromClient, fromOrigin),
      cancel: () => origin.destroy(),
    };
  }

  #join(client: Socket, origin: Socket, fromClient: Buffer, fromOrigin: Buffer): void {
    const { metrics, idleMs, halfClosedMs } = this.#parts;
    const tunnel = new Tunnel(client, origin, {
      fromClient,
      fromOrigin,
      onBytes: (direction, bytes) => metrics.tunnelBytes.inc({ direction }, bytes),
      idleMs,
      halfClosedMs,
    });
    this.#tunnels.add(tunnel);
    metrics.tunnels.inc({ kind: 'blind' });
    metrics.tunnelsOpen.inc();
    void tunnel.closed.then(() => {
      this.#tunnels.delete(tunnel);
      metrics.tunnelsOpen.dec();
    });
  }
}

function targetOf(request: IncomingMessage): TunnelTarget {
  const ingress = parseIngress(request);
  if (ingress.form === 'authority') return ingress.authority;
  throw new DamselflyError('method-not-allowed', `${request.method} is not possible on this address`);
}

function refuse(socket: Socket, error: DamselflyError): void {
  const { lines, body } = errorAnswer(error);
  let head = `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}\r\nConnection: close\r\n`;
  for (let i = 0; i + 1 < lines.length; i += 2) head += `${lines[i]}: ${lines[i + 1]}\r\n`;
  socket.end(Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), body]));
  // What a client sends on in the belief that it has a tunnel is thrown away, so that it reads the answer first.
  socket.resume();
  const cut = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(cut));
}
