import type { Reply } from '../../origin/reply.ts';
import { reasonOf } from '../failure.ts';
import { OriginSaid } from './answers.ts';

/** A slow network is no reason to give up; a dead one shows within this. */
const STALL_MS = 30_000;

/** The body as it comes; a stall or a break is one more try. */
export async function* chunksOf(reply: Reply): AsyncGenerator<Uint8Array> {
  for (;;) {
    let chunk: Uint8Array | null | undefined;
    try {
      chunk = reply.body.read();
      if (chunk === undefined) await reply.body.wait(STALL_MS);
    } catch (error) {
      throw new OriginSaid(`the transfer broke off (${reasonOf(error)})`, { retryable: true });
    }
    if (chunk === null) return;
    if (chunk !== undefined) yield chunk;
  }
}

/** `take` bytes after the first `skip`; a body that goes on after them is left. */
export async function* pick(
  chunks: AsyncIterable<Uint8Array>,
  skip: number,
  take: number,
): AsyncGenerator<Uint8Array> {
  let [ahead, left] = [skip, take];
  if (left <= 0) return;
  for await (const chunk of chunks) {
    const part = chunk.subarray(ahead, ahead + left);
    ahead = Math.max(0, ahead - chunk.length);
    left -= part.length;
    if (part.length > 0) yield part;
    if (left <= 0) return;
  }
}
