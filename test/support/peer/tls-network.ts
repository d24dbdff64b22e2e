import type { ExchangeLimits } from '../../../peer/exchange/limits.ts';
import { TlsExchange, type TlsExchangeOptions } from '../../../peer/exchange/tls/tls-exchange.ts';
import type { Exchange } from '../../../peer/exchange.ts';
import { Identity } from '../../../peer/identity/identity.ts';
import { NetworkKey } from '../../../peer/identity/network-key.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import type { Member, PeerId } from '../../../peer/member.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { CountingPool } from './counting-pool.ts';
import { ScriptedHandlers } from './scripted-handlers.ts';

/** One member of a network under test. */
export interface TestNode {
  readonly id: PeerId;
  readonly member: Member;
  readonly exchange: Exchange;
  readonly handlers: ScriptedHandlers;
  readonly pool: CountingPool;
  close(): Promise<void>;
}

export interface NodeOptions {
  readonly limits?: Partial<ExchangeLimits>;
  /** A restarted node keeps its name and addresses. */
  readonly restartOf?: TestNode;
  /** In another network: with a key of its own. */
  readonly isStranger?: boolean;
}

/** Makes nodes that can talk to each other; ends them all. */
export interface TestNetwork {
  node(options?: NodeOptions): Promise<TestNode>;
  close(): Promise<void>;
}

export const memberOf = (id: PeerId, data: Member['data'], control: readonly string[] = []): Member => ({
  id,
  data,
  control,
  zone: '',
  epoch: 1,
});

/** A member at an address where nobody listens. */
export const absentMember = (): Member =>
  memberOf(Identity.generate().id, [{ host: '127.0.0.1', port: 1 }], ['/ip4/127.0.0.1/tcp/1']);

export interface TlsNode extends TestNode {
  readonly exchange: TlsExchange;
  readonly identity: Identity;
}

export class TlsNetwork implements TestNetwork {
  readonly #keys = new NetworkKeys([NetworkKey.generate()]);
  readonly #nodes = new Set<TestNode>();

  async node(
    options: NodeOptions & {
      readonly keys?: NetworkKeys;
      readonly exchange?: Partial<TlsExchangeOptions>;
    } = {},
  ): Promise<TlsNode> {
    const before = options.restartOf as TlsNode | undefined;
    const identity = before?.identity ?? Identity.generate();
    const pool = new CountingPool();
    const handlers = new ScriptedHandlers(identity.id);
    const keys = options.keys ?? (options.isStranger ? new NetworkKeys([NetworkKey.generate()]) : this.#keys);
    const exchange = await TlsExchange.create({
      identity,
      keys,
      pool,
      log: silentLogger,
      limits: { redialMs: 0, ...options.limits },
      ...options.exchange,
    });
    const data = await exchange.listen(before?.member.data ?? [{ host: '127.0.0.1', port: 0 }], handlers);
    const node: TlsNode = {
      id: identity.id,
      member: memberOf(identity.id, data),
      identity,
      exchange,
      handlers,
      pool,
      close: async () => {
        this.#nodes.delete(node);
        await exchange.close();
      },
    };
    this.#nodes.add(node);
    return node;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#nodes].map((node) => node.close()));
  }
}
