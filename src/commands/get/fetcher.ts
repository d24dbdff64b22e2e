import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../../../config/schema.ts';
import { ExchangeFailure } from '../../origin/exchange.ts';
import { headerValue, type RawHeaders } from '../../origin/headers.ts';
import type { HttpRequest } from '../../origin/http-client.ts';
import { follow } from '../../origin/redirects.ts';
import { discard, type Reply } from '../../origin/reply.ts';
import { reasonOf } from '../failure.ts';
import type { NodeAddress } from '../node-address.ts';
import { packageVersion } from '../version.ts';
import { DirectHttp, directoryFor } from './direct-http.ts';
import { NodeHttp } from './node-http.ts';
import { RegistryLogin } from './registry-login.ts';
import type { ObjectTarget, RegistryTarget } from './target.ts';
import type { UserHeaders } from './user-headers.ts';

/** The node has its own 25 s for whatever is not a range. */
const NODE_HEAD_TIMEOUT_MS = 30_000;
const DIRECT_HEAD_TIMEOUT_MS = 60_000;
/** Statuses by which the node says that it cannot; the origin's own word on these is asked for directly then. */
const NODE_TROUBLE: ReadonlySet<number> = new Set([502, 503, 504]);

const USER_AGENT = `damselfly/${packageVersion()}`;

export type Through = 'node' | 'direct';

export interface Answer {
  readonly reply: Reply;
  readonly through: Through;
}

export interface FetcherOptions {
  readonly config: Config;
  readonly node: NodeAddress | undefined;
  readonly headers: UserHeaders;
  /** Things that the user should know and that stop nothing. */
  readonly notify: (message: string) => void;
}

/**
 * Asks for things through the node, or directly once the node has shown that it does not serve them (none runs, or it
 * refuses the URL); answers a registry's challenge on the way.
 */
export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #direct: DirectHttp;
  readonly #login: RegistryLogin;
  #node: NodeHttp | undefined;
  #authorization: string | undefined;

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#direct = new DirectHttp(directoryFor(options.config));
    this.#login = new RegistryLogin(this.#direct, options.notify);
    this.#node = options.node === undefined ? undefined : new NodeHttp(options.node);
  }

  /**
   * GET. @param headers of this request, besides the user's.
   * @param keepNode an answer by which the node says that it cannot sends this one question directly, and no more.
   * @returns whatever the origin said, refusals included; its body is the caller's to read or destroy.
   * @throws ExchangeFailure, DamselflyError.
   */
  async open(
    target: RegistryTarget | ObjectTarget,
    headers: RawHeaders,
    signal: AbortSignal,
    { keepNode = false }: { readonly keepNode?: boolean } = {},
  ): Promise<Answer> {
    const answer = await this.#ask(target, headers, signal, keepNode);
    const mayLogin = target.kind === 'registry' && !this.#hasOwnAuthorization;
    if (answer.reply.status !== 401 || !mayLogin) return answer;
    const authorization = await this.#login.answer(target, answer.reply, signal);
    if (authorization === undefined) return answer;
    discard(answer.reply.body);
    this.#authorization = authorization;
    return this.#ask(target, headers, signal, keepNode);
  }

  /** From now on directly: the node broke off repeatedly. */
  leaveNode(why: string): void {
    if (this.#node === undefined) return;
    this.#options.notify(`the node at ${this.#node.name} ${why}; going on directly`);
    void this.#node.close();
    this.#node = undefined;
  }

  async close(): Promise<void> {
    await Promise.all([this.#node?.close(), this.#direct.close()]);
  }

  get #hasOwnAuthorization(): boolean {
    return headerValue(this.#options.headers.credential, 'authorization') !== undefined;
  }

  async #ask(
    target: RegistryTarget | ObjectTarget,
    headers: RawHeaders,
    signal: AbortSignal,
    keepNode: boolean,
  ): Promise<Answer> {
    const url = target.kind === 'registry' ? `${target.origin}${target.path}` : target.url.href;
    const reply = await this.#throughNode(target, url, headers, signal, keepNode);
    if (reply !== undefined) return { reply, through: 'node' };
    const { reply: own } = await follow(url, this.#lines(url, headers), (at, lines) =>
      this.#direct.send(request(at, lines, signal, DIRECT_HEAD_TIMEOUT_MS)),
    );
    return { reply: own, through: 'direct' };
  }

  /** @returns undefined when there is no node, or it cannot. */
  async #throughNode(
    target: RegistryTarget | ObjectTarget,
    url: string,
    headers: RawHeaders,
    signal: AbortSignal,
    keepNode: boolean,
  ): Promise<Reply | undefined> {
    const node = this.#node;
    if (node === undefined) return undefined;
    try {
      const { reply } = await follow(url, this.#lines(url, headers), (at, lines) => {
        const asked = request(at, lines, signal, NODE_HEAD_TIMEOUT_MS);
        return target.kind === 'registry' && at === url
          ? node.sendMirror(target, asked)
          : node.sendAbsolute(asked);
      });
      const isRefused = reply.status === 403 && reply.header('x-dragonfly-error-type') === 'proxy';
      if (!isRefused && !NODE_TROUBLE.has(reply.status)) return reply;
      discard(reply.body);
      if (isRefused || !keepNode)
        this.leaveNode(isRefused ? 'does not serve this address' : `answered ${reply.status}`);
    } catch (error) {
      if (!(error instanceof ExchangeFailure)) throw error;
      this.leaveNode(`cannot be asked (${error.kind === 'timeout' ? 'no answer in time' : reasonOf(error)})`);
    }
    return undefined;
  }

  #lines(url: string, headers: RawHeaders): { common: RawHeaders; credential: RawHeaders; home: string } {
    const { common, credential } = this.#options.headers;
    const own = this.#authorization === undefined ? [] : ['Authorization', this.#authorization];
    return {
      common: [
        ...(headerValue(common, 'user-agent') === undefined ? ['User-Agent', USER_AGENT] : []),
        'Accept-Encoding',
        'identity',
        ...common,
        ...headers,
      ],
      credential: [...credential, ...own],
      home: url,
    };
  }
}

function request(url: string, headers: RawHeaders, signal: AbortSignal, headTimeoutMs: number): HttpRequest {
  return { method: 'GET', url, headers, signal, headTimeoutMs };
}

/** Waits before a retry. @throws the signal's reason. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch((error: unknown) => {
    signal.throwIfAborted();
    throw error;
  });
}
