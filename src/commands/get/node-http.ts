import { Agent } from 'undici';
import { exchange } from '../../origin/exchange.ts';
import type { HttpRequest } from '../../origin/http-client.ts';
import type { Reply } from '../../origin/reply.ts';
import type { NodeAddress } from '../node-address.ts';
import type { RegistryTarget } from './target.ts';

/** The node is on this host or near: a connection that takes longer is none. */
const CONNECT_TIMEOUT_MS = 1_000;

/** Requests through the node's proxy port. */
export class NodeHttp {
  /** For messages. */
  readonly name: string;
  readonly #url: URL;
  readonly #agent: Agent;

  constructor(address: NodeAddress) {
    this.name = address.kind === 'tcp' ? address.host : address.path;
    const isTls = address.kind === 'tcp' && address.certificate !== undefined;
    this.#url = new URL(
      address.kind === 'tcp' ? `${isTls ? 'https' : 'http'}://${address.host}` : 'http://localhost',
    );
    this.#agent = new Agent({
      connect: {
        timeout: CONNECT_TIMEOUT_MS,
        ...(address.kind === 'unix' ? { socketPath: address.path } : {}),
        // Exactly this certificate is meant, whatever names it has: 127.0.0.1 is seldom one of them.
        ...(isTls ? { ca: address.certificate, checkServerIdentity: () => undefined } : {}),
      },
    });
  }

  /** Mirror form: the registry is named by a header. @throws ExchangeFailure. */
  sendMirror(target: Pick<RegistryTarget, 'origin'>, request: HttpRequest): Promise<Reply> {
    const url = new URL(request.url);
    return this.#send(request, url.pathname + url.search, ['X-Dragonfly-Registry', target.origin]);
  }

  /** Absolute form, for any other URL. @throws ExchangeFailure. */
  sendAbsolute(request: HttpRequest): Promise<Reply> {
    const use = ['Host', new URL(request.url).host, 'X-Dragonfly-Use-P2P', 'true'];
    return this.#send(request, request.url, use);
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  #send(request: HttpRequest, target: string, own: readonly string[]): Promise<Reply> {
    return exchange(this.#agent, {
      ...request,
      url: this.#url,
      target,
      headers: [...request.headers, ...own],
      body: request.body,
      onReceived: () => undefined,
      onClose: () => undefined,
    });
  }
}
