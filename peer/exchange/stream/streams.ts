import type { Stream } from '@libp2p/interface';
import type { Member, PeerId } from '../../member.ts';

/** The libp2p protocol whose streams carry the frames of an exchange. */
export const EXCHANGE_PROTOCOL = '/damselfly/exchange/1';

/**
 * libp2p streams between members, by whoever runs the libp2p node (membership). Both ends of a stream are who they say,
 * by noise, and are members, by the private network's key. Streams have a window of at most 1 MiB.
 */
export interface Streams {
  /** @throws DamselflyError `peer-unreachable`, `peer-refused`; the signal's reason. */
  open(to: Member, signal: AbortSignal): Promise<Stream>;
  /** Streams that others open. */
  onStream(handler: (from: PeerId, stream: Stream) => void): void;
}
