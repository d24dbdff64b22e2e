/**
 * A frame: u32 bytes that follow, u8 type, u32 tag, body. The tag names the question that a frame belongs to; it is
 * chosen by the asking side, which is the one that dialled.
 */
export const FRAME = {
  /** Both ways, first of all. */
  hello: 1,
  /** In place of the listener's hello: why it will have nothing to do with the other. */
  refusal: 2,
  // Asking side → answering side.
  ask: 10,
  /** What the tag named is not wanted any more. */
  cancel: 11,
  report: 12,
  inquiry: 13,
  fetch: 14,
  ping: 15,
  // Answering side → asking side.
  plan: 20,
  /** Before the bytes of a piece. */
  piece: 21,
  /** Bytes of a piece, in order. */
  data: 22,
  busy: 23,
  gone: 24,
  knowledge: 25,
  /** The answering side could not answer: its trouble, not a breach. */
  failed: 26,
  pong: 27,
  /** A fetch is not forgotten: its piece still arrives, or waits for its turn. */
  waiting: 28,
} as const;

export type FrameType = (typeof FRAME)[keyof typeof FRAME];

/** The length does not count its own four bytes. */
export const LENGTH_BYTES = 4;
export const HEAD_BYTES = LENGTH_BYTES + 5;
/** So that a planner's word does not wait for a whole piece. */
export const MAX_DATA_BYTES = 256 * 1024;
export const MAX_CONTROL_BYTES = 128 * 1024;
/** Before the other side has proven anything. */
export const MAX_HELLO_BYTES = 512;

export const MAX_TAG = 0xffff_ffff;

export interface FrameHead {
  readonly type: number;
  readonly tag: number;
  readonly bodyBytes: number;
}

/** Nine bytes: what goes before a body of `bodyBytes`. */
export function frameHead(type: FrameType, tag: number, bodyBytes: number): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  head.writeUInt32BE(bodyBytes + HEAD_BYTES - LENGTH_BYTES, 0);
  head.writeUInt8(type, LENGTH_BYTES);
  head.writeUInt32BE(tag, LENGTH_BYTES + 1);
  return head;
}

/** A small frame in one buffer. @throws RangeError when the body is larger than the other side takes. */
export function frame(type: FrameType, tag: number, body?: Uint8Array): Buffer {
  if (body === undefined) return frameHead(type, tag, 0);
  if (body.length > MAX_CONTROL_BYTES) throw new RangeError(`a frame of ${body.length} bytes is too large`);
  return Buffer.concat([frameHead(type, tag, body.length), body]);
}
