import type { ClientTarget, Finding, JudgeContext, Plan, PlanRequest } from './client-target.ts';
import {
  CERTS_FOLDER,
  CONFIG_FILE,
  type ContainerdConfig,
  looksIntoCerts,
  readContainerdConfig,
  withConfigPath,
} from './containerd-config.ts';
import { findingsOf } from './finding.ts';
import type { HostFiles } from './host-files.ts';
import { CAPABILITIES, editHostsToml, newHostsToml } from './hosts-toml.ts';
import { listenerFor, type NodeView } from './node-view.ts';
import { parseToml, stringsOf, tableAt, tomlKey } from './toml-edit.ts';

const { failed, ok, warning } = findingsOf('containerd');

/** containerd, through hosts.toml files; it names the registry itself (`ns=`). */
export const containerd: ClientTarget = {
  name: 'containerd',
  title: 'containerd',
  configFile: CONFIG_FILE,
  versionProgram: 'containerd',
  registries: 'any',
  plan,
  judge,
};

function plan({ clientVersion, files, node, registries }: PlanRequest): Plan {
  const config = readContainerdConfig(files);
  const folder = config.folders[0] ?? CERTS_FOLDER;
  const names = registries.length === 0 ? ['_default'] : [...new Set(registries)];
  const notes: string[] = [];
  const warnings: string[] = [];
  const hosts = names.map((name) => {
    const path = `${folder}/${folderName(name, files.list(folder))}/hosts.toml`;
    const text = files.read(path);
    const server = name === '_default' ? undefined : node.originOf(name);
    const content =
      text === undefined ? newHostsToml(node.main, server) : editHostsToml(path, text, node.main);
    return { path, content };
  });
  if (registries.length === 0) {
    const others = ownHosts(folder, files).filter((path) => !leadsHere(path, files, node));
    if (others.length > 0) {
      warnings.push(
        `These registries have a file of their own, so that _default does not count for them: ${others.join(', ')}. Name them with --registry to have them use the node.`,
      );
    }
  }
  if (looksIntoCerts(config, clientVersion)) return { files: hosts, damselfly: undefined, notes, warnings };
  if (config.criDisabled) {
    notes.push(
      `${CONFIG_FILE} has the CRI plugin disabled, so it was left alone: ctr takes the folder with --hosts-dir ${folder}, nerdctl finds it.`,
    );
    return { files: hosts, damselfly: undefined, notes, warnings };
  }
  notes.push(
    'Restart containerd afterwards (systemctl restart containerd): it reads config.toml at its start.',
  );
  const change = `sets config_path = "${CERTS_FOLDER}" in [${tomlKey(config.table)}], without which containerd reads no hosts.toml`;
  return {
    files: [...hosts, { path: CONFIG_FILE, content: withConfigPath(config), change }],
    damselfly: undefined,
    notes,
    warnings,
  };
}

/** As containerd looks for it: `host_port_` goes before `host:port`. */
function folderName(registry: string, present: readonly string[]): string {
  const colon = registry.lastIndexOf(':');
  if (colon <= 0) return registry;
  const other = `${registry.slice(0, colon)}_${registry.slice(colon + 1)}_`;
  return present.includes(other) ? other : registry;
}

function ownHosts(folder: string, files: HostFiles): string[] {
  return files
    .list(folder)
    .filter((name) => name !== '_default')
    .map((name) => `${folder}/${name}/hosts.toml`)
    .filter((path) => files.read(path) !== undefined);
}

function leadsHere(path: string, files: HostFiles, node: NodeView): boolean {
  const hosts = tableAt(parseToml(path, files.read(path) ?? ''), ['host']) ?? {};
  return Object.keys(hosts).some((host) => listenerFor(node, host) !== undefined);
}

function judge(files: HostFiles, context: JudgeContext): readonly Finding[] {
  const config = readContainerdConfig(files);
  const folders = config.folders.length > 0 ? config.folders : [CERTS_FOLDER];
  const hosts = folders.flatMap((folder) => files.list(folder).map((name) => `${folder}/${name}/hosts.toml`));
  const present = hosts.filter((path) => files.read(path) !== undefined);
  if (config.text === undefined && present.length === 0) return [];
  const findings = present.flatMap((path) => judgeHosts(path, files.read(path) ?? '', context.node));
  if (findings.length === 0) {
    const where = present[0] ?? CONFIG_FILE;
    return [
      warning(
        where,
        'no registry is pulled through the node',
        'Run "damselfly setup containerd --write", with --registry HOST for single registries',
      ),
    ];
  }
  return [...findings, ...judgeConfig(config, context)];
}

function judgeConfig(config: ContainerdConfig, { clientVersion }: JudgeContext): Finding[] {
  if (config.criDisabled || config.folders.length > 0 || looksIntoCerts(config, clientVersion)) return [];
  const table = tomlKey(config.table);
  if (config.oldForm) {
    return [
      failed(
        CONFIG_FILE,
        `hosts.toml files are ignored: [${table}] has mirrors of the old form, and no config_path`,
        `Move them into ${CERTS_FOLDER}/<registry>/hosts.toml, then run "damselfly setup containerd --write"`,
      ),
    ];
  }
  return [
    failed(
      CONFIG_FILE,
      `config_path is not set in [${table}], without which containerd before 2.2 ignores all hosts.toml files`,
      'Run "damselfly setup containerd --write", then restart containerd',
    ),
  ];
}

function judgeHosts(path: string, text: string, node: NodeView): Finding[] {
  const hosts = tableAt(parseToml(path, text), ['host']) ?? {};
  return Object.keys(hosts).flatMap((host, index) => {
    const listener = listenerFor(node, host);
    if (listener === undefined) return [];
    const entry = tableAt(hosts, [host]) ?? {};
    const scheme = new URL(listener.url).protocol;
    if (/^https?:/i.test(host) && !host.startsWith(scheme)) {
      const remedy = `Write it as ${listener.url}`;
      return [failed(path, `${host} has the wrong scheme: that port speaks ${scheme.slice(0, -1)}`, remedy)];
    }
    if (listener.certFile !== undefined && entry.ca === undefined && entry.skip_verify !== true) {
      return [
        warning(
          path,
          `${host} has no ca, so the node's certificate must be one that this host trusts anyway`,
          `Add ca = "${listener.certFile}" to it, unless it does`,
        ),
      ];
    }
    const lacking = CAPABILITIES.filter((one) => !stringsOf(entry.capabilities).includes(one));
    if (entry.capabilities !== undefined && lacking.length > 0) {
      const remedy = 'Run "damselfly setup containerd --write", which adds it';
      return [warning(path, `${host} lacks the capability ${lacking.join(' and ')}`, remedy)];
    }
    if (index > 0) {
      const first = Object.keys(hosts)[0] ?? '';
      return [warning(path, `${host} is asked only after ${first}`, `Move its table above that of ${first}`)];
    }
    return [ok(path, `${host} is asked first`)];
  });
}
