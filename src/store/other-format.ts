import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { FORMAT_VERSION, INDEX_FILE, otherFormatPath, SEGMENTS_DIR } from './layout.ts';

/**
 * What another version has written is of no use to this one, and may be wanted again: it is moved aside under its
 * format's number, where the version that knows it finds it. All by rename, within one file system.
 */
export function setAside(dir: string, version: number): string {
  const aside = otherFormatPath(dir, version);
  // With its index it is a whole one of an earlier time; without, our own of a moment ago, interrupted.
  if (existsSync(join(aside, INDEX_FILE))) rmSync(aside, { recursive: true });
  mkdirSync(aside, { recursive: true, mode: 0o700 });
  // The index last: as long as it is here, a start that was interrupted does this again.
  for (const name of [SEGMENTS_DIR, `${INDEX_FILE}-wal`, INDEX_FILE]) move(dir, aside, name);
  return aside;
}

/** Takes up what another version has set aside for us, when nothing of ours is here. @returns whether there was any. */
export function takeUp(dir: string): boolean {
  const aside = otherFormatPath(dir, FORMAT_VERSION);
  if (existsSync(join(dir, INDEX_FILE)) || !existsSync(join(aside, INDEX_FILE))) return false;
  rmSync(join(dir, SEGMENTS_DIR), { recursive: true, force: true });
  for (const name of [SEGMENTS_DIR, `${INDEX_FILE}-wal`, INDEX_FILE]) move(aside, dir, name);
  if (readdirSync(aside).length === 0) rmSync(aside, { recursive: true });
  return true;
}

function move(from: string, to: string, name: string): void {
  if (existsSync(join(from, name)) && !existsSync(join(to, name)))
    renameSync(join(from, name), join(to, name));
}
