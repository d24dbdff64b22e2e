import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Scope } from './scope.ts';

export interface MirroredRegistry {
  /** As references name it. */
  readonly registryHost: string;
  /** `host:port`; undefined reads from the registry itself. */
  readonly mirrorHost: string | undefined;
}

/** What containers/image (podman, skopeo) reads of its configuration, in a folder of a test's own. */
export interface ContainersConf {
  readonly folder: string;
  readonly registriesConf: string;
  readonly policy: string;
  readonly authFile: string;
}

/** @param login `name:password`, for the registries and their mirrors: a mirror is asked with its own login only. */
export async function containersConf(
  scope: Scope,
  registries: readonly MirroredRegistry[],
  login?: string,
): Promise<ContainersConf> {
  const folder = await scope.folder('containers');
  const lines = registries.flatMap(({ registryHost, mirrorHost }) => [
    '[[registry]]',
    `location = "${registryHost}"`,
    'insecure = true',
    ...(mirrorHost === undefined
      ? []
      : ['[[registry.mirror]]', `location = "${mirrorHost}"`, 'insecure = true']),
  ]);
  const hosts = registries.flatMap(({ registryHost, mirrorHost }) => [
    registryHost,
    mirrorHost ?? registryHost,
  ]);
  const auth = login === undefined ? undefined : Buffer.from(login).toString('base64');
  const auths = auth === undefined ? {} : Object.fromEntries(hosts.map((host) => [host, { auth }]));
  const file = async (name: string, content: string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, content);
    return path;
  };
  return {
    folder,
    registriesConf: await file('registries.conf', `${lines.join('\n')}\n`),
    policy: await file('policy.json', JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] })),
    authFile: await file('auth.json', JSON.stringify({ auths })),
  };
}
