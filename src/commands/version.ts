import { existsSync, readFileSync } from 'node:fs';

/** The version of the package that this file belongs to, in a checkout (src/) and in the package (dist/src/) alike. */
export function packageVersion(): string {
  for (let folder = new URL('..', import.meta.url); folder.pathname !== '/'; folder = new URL('..', folder)) {
    const file = new URL('package.json', folder);
    if (!existsSync(file)) continue;
    const { name, version } = JSON.parse(readFileSync(file, 'utf8')) as { name?: string; version?: string };
    if (name === 'damselfly' && version !== undefined) return version;
  }
  return 'unknown';
}
