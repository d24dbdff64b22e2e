import type { Connection, Stream } from '@libp2p/interface';
import type { ExchangeMetrics } from '../../src/observe/exchange-metrics.ts';
import type { MembershipMetrics } from '../../src/observe/membership-metrics.ts';
import type { Member, PeerId } from '../member.ts';
import type { Complaints } from './complaints.ts';
import { type Connections, untilAborted } from './connections.ts';
import { Frames } from './frames.ts';
import type { Gossip } from './gossip.ts';
import type { Link, LinkWire } from './link.ts';
import { decodeMessage, encodeMessage } from './message.ts';

export const MEMBERS_PROTOCOL = '/damselfly/members/1';
/** A stream of it that can be opened is a sign of life; it carries nothing. */
export const REACH_PROTOCOL = '/damselfly/reach/1';

const LINK_MS = 5_000;
const REACH_MS = 2_500;
const FLUSH_MS = 1_500;

export interface WiresOptions {
  readonly gossip: () => Gossip;
  readonly connections: Connections;
  readonly complaints: Complaints;
  readonly metrics: {
    readonly exchange: Pick<ExchangeMetrics, 'refused'>;
    readonly membership: Pick<MembershipMetrics, 'message'>;
  };
  /** Aborted when the node stops. */
  readonly ended: AbortSignal;
}

/** The gossip's links over libp2p: one long-lived stream each. */
export class Wires {
  readonly #o: WiresOptions;
  readonly #frames = new Set<Frames>();

  constructor(options: WiresOptions) {
    this.#o = options;
  }

  /** A member opened a stream of {@link MEMBERS_PROTOCOL}. */
  accept(stream: Stream, connection: Connection): void {
    this.#attach(stream, connection, false);
  }

  /** @returns whether there is a link now. */
  async open(member: Member): Promise<boolean> {
    const signal = this.#within(LINK_MS);
    try {
      await this.link(await this.#o.connections.toMember(member, signal), signal);
      return true;
    } catch {
      return false;
    }
  }

  /** @throws libp2p's errors; the signal's reason. */
  async link(connection: Connection, signal: AbortSignal): Promise<void> {
    this.#attach(await connection.newStream(MEMBERS_PROTOCOL, { signal }), connection, true);
  }

  /** Whether the member gives a sign of life within 2.5 s. */
  async reach(member: Member): Promise<boolean> {
    const signal = this.#within(REACH_MS);
    const before = this.#o.connections.existing(member.id);
    try {
      const connection = await this.#o.connections.toMember(member, signal);
      closeQuietly(await connection.newStream(REACH_PROTOCOL, { signal }));
      return true;
    } catch {
      // Nothing comes back on it: whoever comes next dials anew.
      before?.abort(new Error('no sign of life'));
      return false;
    }
  }

  /** Those that are open now: what was sent on them has left once they are closed and flushed. */
  flushedAfter(close: () => void): Promise<unknown> {
    const frames = [...this.#frames];
    close();
    const flushed = Promise.all(frames.map((each) => each.flushed()));
    return untilAborted(flushed, AbortSignal.timeout(FLUSH_MS)).catch(() => undefined);
  }

  forged(link: Link): void {
    this.#broken(link.peer, link.isOutbound, 'it passed on a row that its member did not sign');
  }

  #attach(stream: Stream, connection: Connection, isOutbound: boolean): void {
    const peer = connection.remotePeer.toString() as PeerId;
    const { metrics } = this.#o;
    const gossip = this.#o.gossip();
    let link: Link | undefined;
    const frames = new Frames(stream, {
      onFrame: (bytes) => {
        if (link === undefined) return;
        const message = decodeMessage(bytes);
        metrics.membership.message('received', message.kind, bytes.length);
        gossip.received(link, message);
      },
      onEnd: (error) => {
        this.#frames.delete(frames);
        if (error?.name === 'MalformedBytes') this.#broken(peer, isOutbound, error.message);
        if (link !== undefined) gossip.closed(link, false);
      },
    });
    this.#frames.add(frames);
    const wire: LinkWire = {
      send: (message) => {
        const bytes = encodeMessage(message);
        metrics.membership.message('sent', message.kind, bytes.length);
        frames.send(bytes);
      },
      close: () => frames.close(),
    };
    link = gossip.opened(peer, isOutbound, wire);
  }

  #broken(peer: PeerId, isOutbound: boolean, why: string): void {
    this.#o.metrics.exchange.refused('libp2p', isOutbound ? 'out' : 'in', 'protocol');
    this.#o.complaints.broken(peer, why);
  }

  #within(ms: number): AbortSignal {
    return AbortSignal.any([this.#o.ended, AbortSignal.timeout(ms)]);
  }
}

export function closeQuietly(stream: Stream): void {
  stream.close({ signal: AbortSignal.timeout(LINK_MS) }).catch((error: Error) => stream.abort(error));
}
