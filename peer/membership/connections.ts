import type { Connection, Libp2p } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import { DamselflyError } from '../../src/errors.ts';
import type { ExchangeMetrics } from '../../src/observe/exchange-metrics.ts';
import { dialFailureOf } from '../../src/observe/swarm-labels.ts';
import type { NetworkKeys } from '../identity/network-keys.ts';
import type { Member, PeerId } from '../member.ts';
import type { Complaints } from './complaints.ts';
import type { NetworkProtector } from './network-protector.ts';

/**
 * Of one dial, whoever waits for it and however little. Long: when a whole swarm starts on busy hosts, handshakes take
 * seconds, and each that is given up is begun again.
 */
const DIAL_MS = 5_000;
/** A connection on which nothing has been open for so long is closed. */
const IDLE_MS = 10_000;
const CLOSE_MS = 1_000;
const MAX_GOOD_ADDRESSES = 1_024;

/** Streams of pieces. They have connections of their own: whoever asks for pieces dials one, and all else stays off it. */
export const PIECES_PROTOCOL = '/damselfly/pieces/1';

/** Met itself at an address that somebody gave it. */
export class OwnAddress extends Error {
  constructor() {
    super('that is this node itself');
    this.name = 'OwnAddress';
  }
}

export interface ConnectionsOptions {
  readonly node: Libp2p;
  readonly protector: NetworkProtector;
  readonly keys: NetworkKeys;
  readonly metrics: { readonly exchange: Pick<ExchangeMetrics, 'dialed' | 'dialFailed' | 'refused'> };
  readonly complaints: Complaints;
  /** Streams of these keep a connection open. */
  readonly protocols: ReadonlySet<string>;
}

/** libp2p connections to members: dialled once for all who want one, and closed when nobody does any longer. */
export class Connections {
  readonly #o: ConnectionsOptions;
  readonly #dials = new Map<string, Promise<Connection>>();
  /** Where each member was reached last. */
  readonly #good = new Map<PeerId, string>();
  readonly #idleSinceMs = new WeakMap<Connection, number>();
  /** Dialled by us for pieces. */
  readonly #forPieces = new Map<PeerId, Connection>();

  constructor(options: ConnectionsOptions) {
    this.#o = options;
  }

  /** @throws DamselflyError `peer-unreachable`, `peer-refused`; the signal's reason. */
  async toMember(member: Member, signal: AbortSignal): Promise<Connection> {
    signal.throwIfAborted();
    const open = this.existing(member.id);
    if (open !== undefined) return open;
    return this.#shared(member.id, () => this.#reach(member), signal);
  }

  /**
   * The one over which we ask this member for its pieces: what lies in the buffers of a busy one would hold questions and
   * signs of life up for longer than anybody waits for them.
   * @throws as {@link toMember}
   */
  async forPieces(member: Member, signal: AbortSignal): Promise<Connection> {
    const open = this.#forPieces.get(member.id);
    if (open?.status === 'open') return open;
    // First the other one: it finds the address and the key, and one dial at a time joins no other.
    await this.toMember(member, signal);
    return this.#shared(`pieces of ${member.id}`, () => this.#reachForPieces(member), signal);
  }

  /** It is kept also when nobody waits for it any longer: on a busy machine the next one would be as late. */
  async #reachForPieces(member: Member): Promise<Connection> {
    const connection = await this.#reach(member);
    this.#forPieces.set(member.id, connection);
    connection.addEventListener('close', () => {
      if (this.#forPieces.get(member.id) === connection) this.#forPieces.delete(member.id);
    });
    return connection;
  }

  async #reach(member: Member): Promise<Connection> {
    const good = this.#good.get(member.id);
    const addresses = [...member.control].sort((a, b) => Number(b === good) - Number(a === good));
    // Forced: else it would be one that is there, for pieces, or about to be closed.
    const connection = await this.#dial(
      addresses.map((address) => `${address}/p2p/${member.id}`),
      { force: true },
    );
    const reached = connection.remoteAddr.toString().replace(/\/p2p\/.*$/, '');
    if (member.control.includes(reached)) this.#remember(member.id, reached);
    return connection;
  }

  /** @throws as {@link toMember}; OwnAddress */
  async toAddress(address: string, signal: AbortSignal): Promise<Connection> {
    signal.throwIfAborted();
    return this.#shared(address, () => this.#dial([address], {}), signal);
  }

  /** One that is not for pieces. */
  existing(id: PeerId): Connection | undefined {
    const own = this.#forPieces.get(id);
    return this.#o.node
      .getConnections()
      .find(
        (connection) =>
          connection !== own &&
          connection.status === 'open' &&
          connection.remotePeer.toString() === id &&
          !connection.streams.some(({ protocol }) => protocol === PIECES_PROTOCOL),
      );
  }

  /** It is gone: nothing of it is kept, or members that come and go would fill the memory. */
  forget(id: PeerId): void {
    this.#good.delete(id);
    this.#o.node.peerStore.delete(peerIdFromString(id)).catch(() => undefined);
  }

  /** Closes what has been idle for long. To be called every few seconds. */
  tidy(nowMs: number): void {
    for (const connection of this.#o.node.getConnections()) {
      const isUsed = connection.streams.some((stream) => this.#o.protocols.has(stream.protocol));
      const sinceMs = this.#idleSinceMs.get(connection);
      if (isUsed) this.#idleSinceMs.delete(connection);
      else if (sinceMs === undefined) this.#idleSinceMs.set(connection, nowMs);
      else if (nowMs - sinceMs > IDLE_MS) {
        connection
          .close({ signal: AbortSignal.timeout(CLOSE_MS) })
          .catch((error: Error) => connection.abort(error));
      }
    }
  }

  /** One dial for all who want the same; each waits only as long as its own signal lets it. */
  async #shared(key: string, work: () => Promise<Connection>, signal: AbortSignal): Promise<Connection> {
    let dial = this.#dials.get(key);
    if (dial === undefined) {
      dial = work().finally(() => this.#dials.delete(key));
      // Whoever waits sees it; that nobody waits any more is no fault.
      dial.catch(() => undefined);
      this.#dials.set(key, dial);
    }
    return untilAborted(dial, signal);
  }

  async #dial(addresses: readonly string[], options: { readonly force?: true }): Promise<Connection> {
    if (addresses.length === 0) {
      throw new DamselflyError('peer-unreachable', 'the member has told no address of its libp2p');
    }
    const signal = AbortSignal.timeout(DIAL_MS);
    this.#o.metrics.exchange.dialed('libp2p');
    let failure: unknown;
    let isWorthAKey = true;
    for (const key of this.#o.keys.accepted) {
      if (!isWorthAKey || signal.aborted) break;
      for (const address of addresses) this.#o.protector.useKey(address, key);
      try {
        return await this.#o.node.dial(
          addresses.map((address) => multiaddr(address)),
          { ...options, signal },
        );
      } catch (error) {
        failure = error;
      } finally {
        // What answered, but broke off, may be of the same network by another of its keys.
        isWorthAKey = addresses.filter((address) => this.#o.protector.forgetDial(address)).length > 0;
      }
    }
    throw this.#failed(failure, isWorthAKey ? addresses : []);
  }

  /** @param answered where something took part in the private network's handshake, and then broke off. */
  #failed(cause: unknown, answered: readonly string[]): Error {
    const errors = cause instanceof AggregateError ? (cause.errors as Error[]) : [cause as Error];
    if (errors.some((error) => error.name === 'InvalidPeerIdError' || /dial self/.test(error.message))) {
      return new OwnAddress();
    }
    const isOther = errors.some((error) => error.name === 'UnexpectedPeerError');
    const code = errors
      .map((error) => (error as NodeJS.ErrnoException).code)
      .find((text) => text !== undefined);
    const isLate = errors.some((error) => /^(Timeout|Abort)Error$/.test(error.name));
    this.#o.metrics.exchange.dialFailed('libp2p', isLate ? 'timeout' : dialFailureOf(code));
    if (isOther) {
      this.#o.metrics.exchange.refused('libp2p', 'out', 'identity');
      return new DamselflyError('peer-refused', 'another node than the one that was dialled answers there', {
        cause,
      });
    }
    const [address] = answered;
    if (address !== undefined && !isLate) {
      this.#o.metrics.exchange.refused('libp2p', 'out', 'network-key');
      this.#o.complaints.turnedAway(address);
      return new DamselflyError('peer-refused', 'what answers there does not accept the network key', {
        cause,
      });
    }
    return new DamselflyError(
      'peer-unreachable',
      `a member's libp2p cannot be dialled (${code ?? errors[0]?.name})`,
      {
        cause,
      },
    );
  }

  #remember(id: PeerId, address: string): void {
    this.#good.delete(id);
    this.#good.set(id, address);
    for (const oldest of this.#good.keys()) {
      if (this.#good.size <= MAX_GOOD_ADDRESSES) break;
      this.#good.delete(oldest);
    }
  }
}

/** @returns the error as the exchange's callers know it (peer/exchange.ts). */
export function unreachable(cause: unknown): DamselflyError {
  if (cause instanceof DamselflyError) return cause;
  const reason = (cause as Error).name;
  return new DamselflyError(
    'peer-unreachable',
    `no libp2p stream to the member within a second (${reason})`,
    { cause },
  );
}

/** What the work gives, or the signal's reason. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
