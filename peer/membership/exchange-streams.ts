import type { Connection, Stream } from '@libp2p/interface';
import type { Member, PeerId } from '../member.ts';
import { type Connections, PIECES_PROTOCOL, unreachable } from './connections.ts';

export const EXCHANGE_PROTOCOL = '/damselfly/exchange/1';
/** Of each member, in each direction. */
export const MAX_EXCHANGE_STREAMS = 256;

/** peer/exchange.ts: could not be dialled within a second. */
const OPEN_MS = 1_000;

/** libp2p streams between members, for the exchange's second implementation. */
export interface MemberStreams {
  /** @throws DamselflyError `peer-unreachable`, `peer-refused`; the signal's reason. */
  open(to: Member, lane: 'control' | 'bulk', signal: AbortSignal): Promise<Stream>;
  /** Streams that others open; one that nobody handles is reset. */
  onStream(handler: (from: PeerId, stream: Stream) => void): void;
}

export class ExchangeStreams implements MemberStreams {
  readonly #connections: Connections;
  readonly #ended: AbortSignal;
  #handler: ((from: PeerId, stream: Stream) => void) | undefined;

  /** @param ended aborted when the node stops. */
  constructor(connections: Connections, ended: AbortSignal) {
    this.#connections = connections;
    this.#ended = ended;
  }

  async open(to: Member, lane: 'control' | 'bulk', signal: AbortSignal): Promise<Stream> {
    const limited = AbortSignal.any([signal, this.#ended, AbortSignal.timeout(OPEN_MS)]);
    try {
      const [connection, protocol] =
        lane === 'bulk'
          ? [await this.#connections.forPieces(to, limited), PIECES_PROTOCOL]
          : [await this.#connections.toMember(to, limited), EXCHANGE_PROTOCOL];
      return await connection.newStream(protocol, {
        signal: limited,
        maxOutboundStreams: MAX_EXCHANGE_STREAMS,
      });
    } catch (error) {
      signal.throwIfAborted();
      throw unreachable(error);
    }
  }

  onStream(handler: (from: PeerId, stream: Stream) => void): void {
    this.#handler = handler;
  }

  /** A member opened a stream of {@link EXCHANGE_PROTOCOL} or {@link PIECES_PROTOCOL}. */
  accept(stream: Stream, connection: Connection): void {
    if (this.#handler === undefined) stream.abort(new Error('this node takes no exchange streams'));
    else this.#handler(connection.remotePeer.toString() as PeerId, stream);
  }
}
