import type { Stream } from '@libp2p/interface';
import type { Member, PeerId } from '../../member.ts';
import type { Lane } from '../caller-pool.ts';

/**
 * libp2p streams between members, by whoever runs the libp2p node (membership). Both ends of a stream are who they say,
 * by noise, and are members, by the private network's key. Streams have a window of at most 1 MiB.
 */
export interface Streams {
  /** @throws DamselflyError `peer-unreachable`, `peer-refused`; the signal's reason. */
  open(to: Member, lane: Lane, signal: AbortSignal): Promise<Stream>;
  /** Streams that others open. */
  onStream(handler: (from: PeerId, stream: Stream) => void): void;
}
