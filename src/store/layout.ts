import { join } from 'node:path';
import { type Digest, digestHex } from '../blob/digest.ts';

/**
 * Under `cache.dir`:
 *   lock            held by the running process (a database lock, which the kernel frees when the process dies)
 *   index.db[-wal]  presence, piece digests, sizes, facts; its user_version is the format version
 *   segments/       one file per segment, <digest hex>.<segment>.<birth>
 *   format-N/       index and segments of another format, set aside; evicted before anything else
 *   identity.key    the node's identity; the peer module's, untouched here
 *   members.json    where members were last, and this node's last epoch; the peer module's as well
 * Everything that is not ours is counted against the quota and otherwise left alone.
 */
export const LOCK_FILE = 'lock';
export const INDEX_FILE = 'index.db';
export const SEGMENTS_DIR = 'segments';

/** Bumped when the meaning of the files changes. Other formats, older or newer, are set aside. */
export const FORMAT_VERSION = 2;

export const OTHER_FORMAT = /^format-\d+$/;

export function otherFormatPath(dir: string, version: number): string {
  return join(dir, `format-${version}`);
}

export function segmentsPath(dir: string): string {
  return join(dir, SEGMENTS_DIR);
}

/** What every name of this segment's files begins with. */
export function segmentFilePrefix(digest: Digest, segment: number): string {
  return `${digestHex(digest)}.${segment}.`;
}

/**
 * A name that was never used before, so that the row of an evicted file never describes the file that took its place,
 * and an unlink under way never hits a newer file.
 * @param birth unique per file: time of the store's start and a counter.
 */
export function segmentFileName(digest: Digest, segment: number, birth: string): string {
  return `${segmentFilePrefix(digest, segment)}${birth}`;
}
