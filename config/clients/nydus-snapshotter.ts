import type { ClientTarget, Finding, JudgeContext, Plan, PlanRequest } from './client-target.ts';
import { findingsOf } from './finding.ts';
import type { HostFiles } from './host-files.ts';
import { listenerFor } from './node-view.ts';
import { editNydusJson, type NydusRoute, newNydusJson } from './nydus-backend.ts';
import { judgeNydus } from './nydus-judge.ts';
import { plainHttp } from './routes.ts';
import { parseToml, tableAt } from './toml-edit.ts';

const { warning } = findingsOf('nydus-snapshotter');

const CONFIG_FILES = ['/etc/nydus/config.toml', '/etc/nydus-snapshotter/config.toml'] as const;
/** Where the snapshotter's own service files put it; the one that is built in when nothing is configured is `.json`. */
const TEMPLATE = '/etc/nydus/nydusd-config.fusedev.json';
const BUILT_IN_TEMPLATE = '/etc/nydus/nydusd-config.json';

/**
 * nydusd under the snapshotter. Always the forward-proxy form: a template holds for all registries, the proxy form names
 * each, and every nydusd knows it. `mirrors_config` names none, and newer nydusd ignore what it makes.
 */
export const nydusSnapshotter: ClientTarget = {
  name: 'nydus-snapshotter',
  title: 'nydus-snapshotter',
  configFile: CONFIG_FILES[0],
  versionProgram: undefined,
  registries: 'any',
  plan,
  judge,
};

interface SnapshotterConfig {
  readonly path: string;
  readonly template: string;
  readonly driver: string;
  /** `remote.mirrors_config.dir`; empty: not used. */
  readonly mirrorsFolder: string;
}

function configOf(files: HostFiles): SnapshotterConfig | undefined {
  for (const path of CONFIG_FILES) {
    const text = files.read(path);
    if (text === undefined) continue;
    const root = parseToml(path, text);
    const daemon = tableAt(root, ['daemon']) ?? {};
    const mirrors = tableAt(root, ['remote', 'mirrors_config']) ?? {};
    return {
      path,
      template:
        typeof daemon.nydusd_config === 'string' && daemon.nydusd_config !== ''
          ? daemon.nydusd_config
          : BUILT_IN_TEMPLATE,
      driver: typeof daemon.fs_driver === 'string' && daemon.fs_driver !== '' ? daemon.fs_driver : 'fusedev',
      mirrorsFolder: typeof mirrors.dir === 'string' ? mirrors.dir : '',
    };
  }
  return undefined;
}

function plan({ files, node, registries }: PlanRequest): Plan {
  const config = configOf(files);
  const path = config?.template ?? TEMPLATE;
  const listener = plainHttp('nydus-snapshotter', node.main);
  const route: NydusRoute = { form: 'proxy', listener, version: undefined, origin: undefined };
  const text = files.read(path);
  const edited = text === undefined ? undefined : editNydusJson(path, text, route);
  const notes: string[] = [];
  if (registries.length > 0)
    notes.push(
      'The template holds for all registries, each request names its own: --registry changes nothing.',
    );
  if (config === undefined) {
    notes.push(
      `Name the file in the snapshotter's configuration: nydusd_config = "${path}" in [daemon] of ${CONFIG_FILES[0]}.`,
    );
  }
  notes.push('Restart nydus-snapshotter afterwards; what is mounted already goes on as it was.');
  notes.push(
    'Manifests and bootstraps are pulled by containerd itself: run "damselfly setup containerd" as well.',
  );
  const warnings = [...(edited?.warnings ?? [])];
  if (config !== undefined) {
    if (config.driver !== 'fusedev' && config.driver !== 'fscache')
      warnings.push(
        `${config.path}: fs_driver is ${config.driver}, with which no nydusd reads from a registry.`,
      );
    warnings.push(
      ...mirrorsHere(config, files, { node, clientVersion: undefined }).map((file) => mirrorText(file)),
    );
  }
  const content = edited?.content ?? newNydusJson(route);
  return { files: [{ path, content }], damselfly: undefined, notes, warnings };
}

function judge(files: HostFiles, context: JudgeContext): readonly Finding[] {
  const config = configOf(files);
  if (config === undefined) return [];
  const text = files.read(config.template);
  const findings =
    text === undefined
      ? [
          warning(
            config.template,
            `${config.path} names it, and it is not there`,
            'Run "damselfly setup nydus-snapshotter --write"',
          ),
        ]
      : judgeNydus('nydus-snapshotter', config.template, text, context, true);
  const remedy = `Take dir out of [remote.mirrors_config] in ${config.path}, and use the proxy form: damselfly setup nydus-snapshotter --write`;
  return [
    ...findings,
    ...mirrorsHere(config, files, context).map((file) => warning(file, mirrorText(file), remedy)),
  ];
}

/** The files of `mirrors_config` that lead to the node. */
function mirrorsHere(config: SnapshotterConfig, files: HostFiles, { node }: JudgeContext): string[] {
  if (config.mirrorsFolder === '') return [];
  return files
    .list(config.mirrorsFolder)
    .map((name) => `${config.mirrorsFolder}/${name}/hosts.toml`)
    .filter((path) => {
      const hosts = tableAt(parseToml(path, files.read(path) ?? ''), ['host']) ?? {};
      return Object.keys(hosts).some((host) => listenerFor(node, host) !== undefined);
    });
}

function mirrorText(path: string): string {
  return `${path} is a mirror of the snapshotter: its requests do not name their registry, and nydusd has no way back to it at run time`;
}
