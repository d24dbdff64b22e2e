import { AutoExchange } from '../../../peer/exchange/auto.ts';
import { StreamExchange } from '../../../peer/exchange/stream/stream-exchange.ts';
import { TlsExchange } from '../../../peer/exchange/tls/tls-exchange.ts';
import { Identity } from '../../../peer/identity/identity.ts';
import { NetworkKey } from '../../../peer/identity/network-key.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import { Membership } from '../../../peer/membership/membership.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { NO_METRICS } from '../../peer/membership/no-metrics.ts';
import { CountingPool } from './counting-pool.ts';
import { ScriptedHandlers } from './scripted-handlers.ts';
import { memberOf, type NodeOptions, type TestNetwork, type TestNode } from './tls-network.ts';

interface StreamNode extends TestNode {
  readonly identity: Identity;
  readonly auto: AutoExchange | undefined;
}

/** Nodes with libp2p as they have it in the product: private network, noise, yamux. With `auto` they have sockets too. */
export class StreamNetwork implements TestNetwork {
  readonly #keys = new NetworkKeys([NetworkKey.generate()]);
  readonly #nodes = new Set<TestNode>();
  readonly #isAuto: boolean;

  constructor(options: { readonly auto?: boolean } = {}) {
    this.#isAuto = options.auto ?? false;
  }

  async node(options: NodeOptions = {}): Promise<StreamNode> {
    const before = options.restartOf as StreamNode | undefined;
    const identity = before?.identity ?? Identity.generate();
    const keys = options.isStranger ? new NetworkKeys([NetworkKey.generate()]) : this.#keys;
    const pool = new CountingPool();
    const handlers = new ScriptedHandlers(identity.id);
    const membership = await Membership.start({
      identity,
      keys,
      config: {
        listen: before?.member.control ?? ['/ip4/127.0.0.1/tcp/0'],
        announce: [],
        zone: undefined,
        discovery: { static: [], dns: [], mdns: false, bootstrap: [] },
      },
      data: [],
      resolve: async () => [],
      folder: undefined,
      log: silentLogger,
      metrics: NO_METRICS,
    });
    const parts = { pool, log: silentLogger, limits: { redialMs: 0, ...options.limits } };
    const stream = new StreamExchange({ ...parts, streams: membership.streams });
    stream.listen(handlers);
    const tls = this.#isAuto ? await TlsExchange.create({ ...parts, identity, keys }) : undefined;
    const data = await tls?.listen(before?.member.data ?? [{ host: '127.0.0.1', port: 0 }], handlers);
    const auto = tls === undefined ? undefined : new AutoExchange({ tls, stream });
    const exchange = auto ?? stream;
    const node: StreamNode = {
      id: identity.id,
      member: memberOf(identity.id, data ?? [], membership.listening()),
      identity,
      exchange,
      auto,
      handlers,
      pool,
      close: async () => {
        this.#nodes.delete(node);
        await exchange.close();
        await membership.stop();
      },
    };
    this.#nodes.add(node);
    return node;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#nodes].map((node) => node.close()));
  }
}
