import { join } from 'node:path';
import { type Digest, digestHex } from '../blob/digest.ts';

/**
 * Under `cache.dir`:
 *   lock            held by the running process (a database lock, which the kernel frees when the process dies)
 *   index.db[-wal]  presence, piece digests, sizes, facts; its user_version is the format version
 *   segments/       one file per segment, <digest hex>.<segment>.<birth>
 *   identity.key    the node's identity; the peer module's, untouched here
 * Everything that is not ours is counted against the quota and otherwise left alone.
 */
export const LOCK_FILE = 'lock';
export const INDEX_FILE = 'index.db';
const SEGMENTS_DIR = 'segments';

/** Bumped when the meaning of the files changes. Older known formats are migrated, newer ones refused. */
export const FORMAT_VERSION = 1;

export function segmentsPath(dir: string): string {
  return join(dir, SEGMENTS_DIR);
}

/**
 * A name that was never used before, so that the row of an evicted file never describes the file that took its place,
 * and an unlink under way never hits a newer file.
 * @param birth unique per file: time of the store's start and a counter.
 */
export function segmentFileName(digest: Digest, segment: number, birth: string): string {
  return `${digestHex(digest)}.${segment}.${birth}`;
}
