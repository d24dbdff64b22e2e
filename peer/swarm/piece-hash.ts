import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

/** About 0.15 ms each, so that the loop is never held for a whole piece. */
const STEP_BYTES = 256 * 1024;

/** sha256 of a piece, 32 bytes. */
export async function hashPiece(bytes: Uint8Array): Promise<Buffer> {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes.length; at += STEP_BYTES) {
    if (at > 0) await setImmediate();
    hash.update(bytes.subarray(at, at + STEP_BYTES));
  }
  return hash.digest();
}
