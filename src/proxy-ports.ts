import { formatAddress, type ListenAddress } from '../config/address.ts';
import type { Config } from '../config/schema.ts';
import { readSetting, readTlsPair } from '../config/setting-files.ts';
import type { Health } from './observe/health.ts';
import type { Logger } from './observe/log.ts';
import type { Metrics } from './observe/metrics.ts';
import { CertificateAuthority } from './proxy/certificate-authority.ts';
import { type ConnectParts, ConnectRoute } from './proxy/connect-route.ts';
import type { Entrance } from './proxy/entrance.ts';
import { Interceptor } from './proxy/interceptor.ts';
import type { Router } from './proxy/router.ts';
import { ProxyServer } from './proxy/server.ts';

interface ProxyPortsParts extends Omit<ConnectParts, 'interceptor'> {
  readonly router: Router;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/**
 * Opens every port of the clients: that of `proxy` and those of `proxy.listeners`.
 * @param closes gets what closes each of them, as soon as it is open.
 * @returns what is really listened on.
 * @throws DamselflyError listen-failed, config-invalid.
 */
export async function openProxyPorts(
  config: Config,
  parts: ProxyPortsParts,
  closes: (() => Promise<void>)[],
): Promise<string[]> {
  const { router, health, metrics, log } = parts;
  const interceptor = await interceptorOf(config, metrics);
  const connect = new ConnectRoute({ ...parts, interceptor });
  closes.push(() => connect.close());
  const listened: string[] = [];
  for (const { key, addresses, entrance, tls } of listenersOf(config)) {
    const server = new ProxyServer({
      handle: (request, response) => {
        const tunnel = interceptor?.targetOf(request.socket);
        void router.handle(request, response, tunnel === undefined ? entrance : { tunnel });
      },
      connect: (request, socket, head, adopt) => void connect.handle(request, socket, head, adopt),
      healthy: () => health.healthy,
      isRootPing: entrance.blob === undefined,
      tls,
      log,
    });
    closes.push(() => server.close());
    listened.push(...(await server.listen(addresses, key)).map(formatAddress));
  }
  return listened;
}

interface Listener {
  /** Of its addresses, in the configuration. */
  readonly key: string;
  readonly addresses: readonly ListenAddress[];
  readonly entrance: Entrance;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
}

function listenersOf({ proxy }: Config): Listener[] {
  const own = { listen: proxy.listen, origin: undefined, blob: undefined, tls: proxy.tls };
  return [own, ...proxy.listeners].map(({ listen, origin, blob, tls }, index) => {
    const at = index === 0 ? 'proxy' : `proxy.listeners[${index - 1}]`;
    return {
      key: `${at}.listen`,
      addresses: listen,
      entrance: { origin, blob },
      tls: tls === undefined ? undefined : readTlsPair(`${at}.tls`, tls),
    };
  });
}

async function interceptorOf({ proxy }: Config, metrics: Metrics): Promise<Interceptor | undefined> {
  const { hosts, ca } = proxy.intercept;
  if (ca === undefined) return undefined;
  const authority = await CertificateAuthority.load({
    cert: readSetting('proxy.intercept.caCertFile', ca.certFile),
    key: readSetting('proxy.intercept.caKeyFile', ca.keyFile),
  });
  return new Interceptor({ hosts, authority, metrics });
}
