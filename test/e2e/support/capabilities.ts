import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Real components that end-to-end tests need, and how to get them. */
const COMPONENTS = {
  'docker-registry': { debian: 'docker-registry' },
  containerd: { debian: 'containerd' },
  ctr: { debian: 'containerd' },
  skopeo: { debian: 'skopeo' },
  umount: { debian: 'mount' },
  nydusd: { debian: undefined },
  'nydus-image': { debian: undefined },
} as const;

export type Component = keyof typeof COMPONENTS;
/** What a machine has or has not, and no test run can install. */
export type Facility = 'root' | 'fuse';

const CLIENTS = fileURLToPath(new URL('../../../../shared/clients', import.meta.url));

/** Where a component's program is: beside the checkout in shared/clients, else on the PATH. */
export function findProgram(name: Component): string | undefined {
  const folders = [CLIENTS, ...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** As {@link findProgram}, for a test that has asked {@link lacking} before. */
export function program(name: Component): string {
  const path = findProgram(name);
  if (path === undefined) throw new Error(why(name));
  return path;
}

/**
 * The `skip` of a test that needs these: false where all are here, else the reason in words. In CI, where `.ci/run`
 * installs Debian's packages, a missing one of those is an error and not a reason to skip.
 */
export function lacking(...needs: readonly (Component | Facility)[]): string | false {
  const reasons: string[] = [];
  for (const need of needs) {
    if (need === 'root') {
      if (process.getuid?.() !== 0) reasons.push('needs root (mounts)');
    } else if (need === 'fuse') {
      if (!isUsable('/dev/fuse')) reasons.push('/dev/fuse is not usable');
    } else if (findProgram(need) === undefined) {
      if (process.env.CI === 'true' && COMPONENTS[need].debian !== undefined) throw new Error(why(need));
      reasons.push(why(need));
    }
  }
  return reasons.length > 0 ? reasons.join('; ') : false;
}

function why(name: Component): string {
  const { debian } = COMPONENTS[name];
  const how =
    debian === undefined
      ? 'cargo install nydus-rs --version 2.2.0 --locked, some 20 minutes'
      : `apt-get install ${debian}`;
  return `${name} is not installed (${how})`;
}

function isExecutable(path: string): boolean {
  return isAccessible(path, constants.X_OK);
}

function isUsable(path: string): boolean {
  return isAccessible(path, constants.R_OK | constants.W_OK);
}

function isAccessible(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}
