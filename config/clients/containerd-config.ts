import { madeBy } from './finding.ts';
import type { HostFiles } from './host-files.ts';
import { parseToml, setTomlKey, stringsOf, type TomlTable, tableAt, tomlKey } from './toml-edit.ts';
import { unusable } from './unusable.ts';
import { compareVersions } from './version.ts';

export const CONFIG_FILE = '/etc/containerd/config.toml';
export const CERTS_FOLDER = '/etc/containerd/certs.d';

/** containerd looks into certs.d without being told to from here on. */
const LOOKS_BY_ITSELF = '2.2.0';

/** What of containerd's own configuration matters to mirrors. */
export interface ContainerdConfig {
  readonly text: string | undefined;
  /** Folders of `config_path`; none when it is not set. */
  readonly folders: readonly string[];
  /** Where `config_path` belongs in this version of the file. */
  readonly table: readonly string[];
  /** `registry.mirrors` or TLS settings in the way of before, which exclude `config_path`. */
  readonly oldForm: boolean;
  /** Kubernetes does not pull through this containerd. */
  readonly criDisabled: boolean;
}

export function readContainerdConfig(files: HostFiles): ContainerdConfig {
  const text = files.read(CONFIG_FILE);
  const root = text === undefined ? {} : parseToml(CONFIG_FILE, text);
  const table = registryTable(text === undefined ? 2 : root.version);
  const roots = [root, ...importsOf(root, files)];
  const registries = roots.map((one) => tableAt(one, registryTable(one.version ?? root.version)) ?? {});
  const path = registries.map(({ config_path }) => config_path).findLast(isSet) ?? '';
  return {
    text,
    folders: path.split(':').filter((folder) => folder !== ''),
    table,
    oldForm: registries.some(
      (registry) =>
        Object.keys(tableAt(registry, ['mirrors']) ?? {}).length > 0 ||
        Object.values(tableAt(registry, ['configs']) ?? {}).some(
          (one) => tableAt(one, ['tls']) !== undefined,
        ),
    ),
    criDisabled: roots.some((one) =>
      stringsOf(one.disabled_plugins).some((name) =>
        ['cri', 'io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images'].includes(name),
      ),
    ),
  };
}

/** Whether hosts.toml files are read at all. */
export function looksIntoCerts(config: ContainerdConfig, version: string | undefined): boolean {
  if (config.folders.length > 0) return true;
  return !config.oldForm && version !== undefined && compareVersions(version, LOOKS_BY_ITSELF) >= 0;
}

/** The file with `config_path` set. @throws DamselflyError `client-config-unusable`. */
export function withConfigPath(config: ContainerdConfig): string {
  if (config.oldForm) {
    throw unusable(
      CONFIG_FILE,
      'has registry.mirrors or registry.configs…tls, with which containerd takes no config_path',
      `move them into ${CERTS_FOLDER}/<registry>/hosts.toml, then run this again`,
    );
  }
  if (config.text === undefined) {
    const table = tomlKey(config.table);
    return `${madeBy('containerd')}version = 2\n\n[${table}]\n  config_path = "${CERTS_FOLDER}"\n`;
  }
  return setTomlKey(CONFIG_FILE, config.text, config.table, 'config_path', CERTS_FOLDER);
}

/** The name of containerd's image plugin changed with versions 2 and 3 of the file; containerd 2 reads all. */
function registryTable(version: unknown): readonly string[] {
  const number = typeof version === 'bigint' ? Number(version) : version;
  if (typeof number !== 'number' || number < 2) return ['plugins', 'cri', 'registry'];
  return ['plugins', number === 2 ? 'io.containerd.grpc.v1.cri' : 'io.containerd.cri.v1.images', 'registry'];
}

function importsOf(root: TomlTable, files: HostFiles): TomlTable[] {
  return stringsOf(root.imports).flatMap((pattern) => {
    const slash = pattern.lastIndexOf('/');
    const folder = pattern.startsWith('/')
      ? pattern.slice(0, slash)
      : `/etc/containerd/${pattern.slice(0, slash)}`;
    const name = pattern.slice(slash + 1).split('*');
    return files
      .list(folder)
      .filter((file) => fits(file, name))
      .map((file) => {
        const path = `${folder}/${file}`;
        return parseToml(path, files.read(path) ?? '');
      });
  });
}

/** @param parts of a name around its asterisks. */
function fits(name: string, parts: readonly string[]): boolean {
  const pattern = parts.map((part) => part.replace(/[.\\+?^${}()|[\]]/g, '\\$&')).join('.*');
  return new RegExp(`^${pattern}$`).test(name);
}

function isSet(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
