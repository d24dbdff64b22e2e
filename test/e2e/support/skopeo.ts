import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { program } from './capabilities.ts';
import { type CommandResult, tryCommand } from './command.ts';
import type { Scope } from './scope.ts';

export interface SkopeoCopyOptions {
  readonly registryHost: string;
  /** `repo:tag`. */
  readonly name: string;
  /** `host:port`; undefined reads from the registry itself. */
  readonly mirrorHost: string | undefined;
  /** A folder that does not exist yet; gets skopeo's `dir:` layout. */
  readonly target: string;
}

/** `skopeo copy docker://… dir:…` with a registries.conf that names the mirror. */
export async function skopeoCopy(scope: Scope, options: SkopeoCopyOptions): Promise<CommandResult> {
  const folder = await scope.folder('skopeo');
  const registriesConf = join(folder, 'registries.conf');
  const policy = join(folder, 'policy.json');
  const lines = ['[[registry]]', `location = "${options.registryHost}"`, 'insecure = true'];
  if (options.mirrorHost !== undefined) {
    lines.push('[[registry.mirror]]', `location = "${options.mirrorHost}"`, 'insecure = true');
  }
  await writeFile(registriesConf, `${lines.join('\n')}\n`);
  await writeFile(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
  return await tryCommand(
    program('skopeo'),
    [
      ...['--registries-conf', registriesConf, '--policy', policy, '--tmpdir', folder],
      ...[
        'copy',
        '--preserve-digests',
        `docker://${options.registryHost}/${options.name}`,
        `dir:${options.target}`,
      ],
    ],
    { timeoutMs: 120_000, env: { HOME: folder, XDG_RUNTIME_DIR: folder } },
  );
}
