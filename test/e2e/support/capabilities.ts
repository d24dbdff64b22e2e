import { accessSync, constants, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** How a program comes onto a machine: a Debian package, clients/install.sh, or by hand. */
type Provenance =
  | { readonly debian: string }
  /** A line of clients/list.txt, and the program of it when its own name is another. */
  | { readonly built: string; readonly file?: string }
  | { readonly byHand: string };

const NYDUS = { byHand: 'cargo install nydus-rs --version 2.2.0 --locked, some 20 minutes' };

/** Real components that end-to-end tests need, and how to get them. */
const COMPONENTS = {
  'docker-registry': { debian: 'docker-registry' },
  containerd: { debian: 'containerd' },
  ctr: { debian: 'containerd' },
  podman: { debian: 'podman' },
  skopeo: { debian: 'skopeo' },
  umount: { debian: 'mount' },
  nydusd: NYDUS,
  'nydus-image': NYDUS,
  'containerd-2': { built: 'containerd', file: 'containerd' },
  'ctr-2': { built: 'containerd', file: 'ctr' },
  'registry-3': { built: 'distribution', file: 'registry' },
  'containerd-nydus-grpc': { built: 'nydus-snapshotter' },
  stargz: { built: 'stargz-snapshotter' },
  estargz: { built: 'estargz' },
  crane: { built: 'crane' },
  oras: { built: 'oras' },
  conformance: { built: 'conformance' },
} as const satisfies Readonly<Record<string, Provenance>>;

export type Component = keyof typeof COMPONENTS;
/** What a machine has or has not, and no test run can install. */
export type Facility = 'root' | 'fuse';

const SHARED_CLIENTS = fileURLToPath(new URL('../../../../shared/clients', import.meta.url));
const CLIENT_LIST = fileURLToPath(new URL('../clients/list.txt', import.meta.url));

/** Where a component's program is: beside the checkout in shared/clients, where it was built, or on the PATH. */
export function findProgram(name: Component): string | undefined {
  const provenance: Provenance = COMPONENTS[name];
  if ('built' in provenance) {
    const path = join(clientFolder(provenance.built), provenance.file ?? name);
    return isExecutable(path) ? path : undefined;
  }
  const folders = [SHARED_CLIENTS, ...pathFolders(), '/usr/sbin', '/sbin'];
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
 * installs Debian's packages and, where there is a go, builds the clients, a missing one of those is an error and not
 * a reason to skip.
 */
export function lacking(...needs: readonly (Component | Facility)[]): string | false {
  const reasons: string[] = [];
  for (const need of needs) {
    if (need === 'root') {
      if (process.getuid?.() !== 0) reasons.push('needs root (mounts)');
    } else if (need === 'fuse') {
      if (!isUsable('/dev/fuse')) reasons.push('/dev/fuse is not usable');
    } else if (findProgram(need) === undefined) {
      if (process.env.CI === 'true' && ciInstalls(COMPONENTS[need])) throw new Error(why(need));
      reasons.push(why(need));
    }
  }
  return reasons.length > 0 ? reasons.join('; ') : false;
}

function ciInstalls(provenance: Provenance): boolean {
  if ('built' in provenance) return pathFolders().some((folder) => isExecutable(join(folder, 'go')));
  return 'debian' in provenance;
}

function why(name: Component): string {
  const provenance: Provenance = COMPONENTS[name];
  if ('built' in provenance) {
    return `${name} is not built (test/e2e/clients/install.sh ${provenance.built}; needs go)`;
  }
  const how = 'debian' in provenance ? `apt-get install ${provenance.debian}` : provenance.byHand;
  return `${name} is not installed (${how})`;
}

/** The version that clients/list.txt names, without the leading v. */
export function clientVersion(client: string): string {
  const line = readFileSync(CLIENT_LIST, 'utf8')
    .split('\n')
    .find((candidate) => candidate.startsWith(`${client} `));
  const version = line?.split(' ')[1];
  if (version === undefined) throw new Error(`clients/list.txt has no ${client}`);
  return version.slice(1);
}

/** As clients/install.sh names it. */
function clientFolder(client: string): string {
  const { DAMSELFLY_E2E_CLIENTS, XDG_CACHE_HOME } = process.env;
  const cache =
    DAMSELFLY_E2E_CLIENTS ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'damselfly/clients');
  return join(cache, `${client}-v${clientVersion(client)}`);
}

function pathFolders(): string[] {
  return (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
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
