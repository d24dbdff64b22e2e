import { DamselflyError } from '../../src/errors.ts';
import type { PeerId } from '../member.ts';

/** One connection, or stream, to a member who has proven who it is: frames go out here, and come in by a FrameReader. */
export interface Channel {
  readonly peer: PeerId;
  readonly isOpen: boolean;
  /** A small frame. More of them than the other side takes end the channel. */
  send(frame: Buffer): void;
  /**
   * A large one, head and body; one or two of them are on their way at once, further ones wait for their turn.
   * @returns when the body may be used again. Rejects when the channel has ended.
   */
  sendData(head: Buffer, body: Buffer): Promise<void>;
  /** Stops reading, nearly at once; the other side notices by and by. */
  pause(): void;
  resume(): void;
  /** At once; `error` is what those get who wait. */
  destroy(error?: DamselflyError): void;
}

/** Who is told, once, that a channel is gone and that its buffers are not written to any more. */
export type CloseListener = (error: DamselflyError) => void;

/** Small frames that wait to be sent: past it the other side does not read. */
export const MAX_BACKLOG_BYTES = 2 * 1024 * 1024;

export function unreachable(what: string, cause?: unknown): DamselflyError {
  return new DamselflyError('peer-unreachable', `no connection to the other node: ${what}`, { cause });
}

export function refusedBy(what: string, cause?: unknown): DamselflyError {
  return new DamselflyError('peer-refused', `the other side was refused: ${what}`, { cause });
}
