import { program } from './capabilities.ts';
import { type CommandResult, tryCommand } from './command.ts';
import { containersConf, type MirroredRegistry } from './containers-conf.ts';
import type { Scope } from './scope.ts';

export interface SkopeoCopyOptions extends MirroredRegistry {
  /** More registries that its registries.conf knows. */
  readonly others?: readonly MirroredRegistry[];
  /** `repo:tag`. */
  readonly name: string;
  /** `name:password`. */
  readonly login?: string | undefined;
  /** A folder that does not exist yet; gets skopeo's `dir:` layout. */
  readonly target: string;
}

/** `skopeo copy docker://… dir:…` with a registries.conf that names the mirror. */
export async function skopeoCopy(scope: Scope, options: SkopeoCopyOptions): Promise<CommandResult> {
  const { others = [], login, registryHost, mirrorHost } = options;
  const conf = await containersConf(scope, [{ registryHost, mirrorHost }, ...others], login);
  return await tryCommand(
    program('skopeo'),
    [
      ...['--registries-conf', conf.registriesConf, '--policy', conf.policy, '--tmpdir', conf.folder],
      ...['copy', '--preserve-digests', '--authfile', conf.authFile],
      ...[`docker://${registryHost}/${options.name}`, `dir:${options.target}`],
    ],
    { timeoutMs: 120_000, env: { HOME: conf.folder, XDG_RUNTIME_DIR: conf.folder } },
  );
}
