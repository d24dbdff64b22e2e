import { readFileSync } from 'node:fs';
import { Agent, type Dispatcher, ProxyAgent } from 'undici';
import type { Config } from '../../../config/schema.ts';
import { formatHost } from '../../../config/web.ts';
import { trusting } from '../../origin/connector.ts';
import { exchange } from '../../origin/exchange.ts';
import type { HttpRequest } from '../../origin/http-client.ts';
import { OriginDirectory } from '../../origin/origin-directory.ts';
import { type ProxyForUrl, proxyFromEnvironment } from '../../origin/proxy-env.ts';
import type { Reply } from '../../origin/reply.ts';

/** A person waits, and may have a slow network; nobody else takes over when this gives up. */
const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Requests straight to any address that the user typed, loopback included: there is nobody here to protect from it.
 * Honours `origins[].ca` and `proxy` of the configuration, and HTTPS_PROXY and NO_PROXY.
 */
export class DirectHttp {
  readonly #directory: OriginDirectory;
  readonly #proxyForUrl: ProxyForUrl = proxyFromEnvironment(process.env);
  readonly #dispatchers = new Map<string, Dispatcher>();

  constructor(directory: OriginDirectory) {
    this.#directory = directory;
  }

  /** One request; nothing is followed or retried. @throws ExchangeFailure. */
  send(request: HttpRequest): Promise<Reply> {
    const url = new URL(request.url);
    const { ca, proxy } = this.#directory.route(url);
    return exchange(this.#dispatcher(proxy ?? this.#proxyForUrl(url), ca), {
      ...request,
      url,
      target: spelledTarget(request.url),
      body: request.body,
      onReceived: () => undefined,
      onClose: () => undefined,
    });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#dispatchers.values()].map((dispatcher) => dispatcher.destroy()));
  }

  #dispatcher(proxy: string | undefined, ca: string | undefined): Dispatcher {
    const key = JSON.stringify([proxy, ca]);
    const known = this.#dispatchers.get(key);
    if (known !== undefined) return known;
    const tls = ca === undefined ? {} : trusting(ca);
    const dispatcher =
      proxy === undefined
        ? new Agent({ connect: { timeout: CONNECT_TIMEOUT_MS, ...tls } })
        : new ProxyAgent({ uri: proxy, connectTimeout: CONNECT_TIMEOUT_MS, requestTls: tls });
    this.#dispatchers.set(key, dispatcher);
    return dispatcher;
  }
}

/** Path and query as they are spelt: a signed URL does not survive being parsed and written again. */
function spelledTarget(url: string): string {
  const rest = /^[^:]+:\/\/[^/?#]*([^#]*)/.exec(url)?.[1] ?? '';
  return rest.startsWith('/') ? rest : `/${rest}`;
}

/** What the configuration says of origins, for a command: it restricts nothing here. */
export function directoryFor(config: Config): OriginDirectory {
  return new OriginDirectory({
    origins: config.origins.map((origin) => ({
      ...origin,
      host: formatHost(origin.host),
      ca: origin.ca === undefined ? undefined : readIfPossible(origin.ca),
    })),
    defaultOrigin: config.proxy.defaultOrigin,
    allowOrigins: 'any',
  });
}

/** A file of the node's that this user may not read: the system's authorities have to do. */
function readIfPossible(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
