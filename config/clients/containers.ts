import type { ClientTarget, Finding, JudgeContext, Plan, PlanRequest, TargetName } from './client-target.ts';
import { findingsOf, madeBy } from './finding.ts';
import type { HostFiles } from './host-files.ts';
import { listenerFor, type NodeListener, type NodeView, namelessOrigin } from './node-view.ts';
import { chooseRegistries, namelessRoutes } from './routes.ts';
import { appendToml, changeToml, parseToml, type TomlTable, tablesOf } from './toml-edit.ts';

const MAIN_FILE = '/etc/containers/registries.conf';
const DROP_IN_FOLDER = '/etc/containers/registries.conf.d';

/** podman, and with it skopeo and buildah: a drop-in of registries.conf. They name no registry. */
export const podman: ClientTarget = containersClient('podman', 'podman', []);

/** CRI-O reads the same files, and has to be told. */
export const crio: ClientTarget = containersClient('cri-o', 'CRI-O', [
  'Reload CRI-O afterwards (systemctl reload crio).',
]);

function containersClient(name: TargetName, title: string, notes: readonly string[]): ClientTarget {
  return {
    name,
    title,
    configFile: MAIN_FILE,
    versionProgram: undefined,
    registries: 'any',
    plan: (request) => plan(name, request, notes),
    judge: (files, context) => judge(name, files, context),
  };
}

function plan(target: TargetName, { files, node, registries }: PlanRequest, notes: readonly string[]): Plan {
  const chosen = chooseRegistries(registries, node);
  const routes = namelessRoutes(chosen.registries, node);
  const dropIn = dropInOf(target);
  const others = entriesOf(files).filter(({ path }) => path !== dropIn);
  const warnings: string[] = [];
  for (const [registry, { certFile, host }] of routes.listeners) {
    const other = others.findLast(({ prefix }) => prefix === registry);
    if (other !== undefined && !leadsTo(other.entry, host)) {
      warnings.push(
        `${other.path} has an entry for ${registry} as well; of two entries the later file's counts, as a whole. Its keys are ${Object.keys(other.entry).sort().join(', ')}.`,
      );
    }
    if (certFile !== undefined)
      warnings.push(`Copy ${certFile} to /etc/containers/certs.d/${host}/ca.crt: the mirror speaks TLS.`);
  }
  const content = [...routes.listeners].reduce(
    (sofar, [registry, listener]) => withRegistry(dropIn, sofar, registry, listener, node),
    files.read(dropIn) ?? madeBy(target),
  );
  return {
    files: [{ path: dropIn, content }],
    damselfly: routes.damselfly,
    notes: [...chosen.notes, ...notes],
    warnings,
  };
}

function dropInOf(target: TargetName): string {
  return `${DROP_IN_FOLDER}/50-damselfly${target === 'podman' ? '' : `-${target}`}.conf`;
}

/** The drop-in with a mirror for one more registry, or with another address of it. */
function withRegistry(
  path: string,
  text: string,
  registry: string,
  listener: NodeListener,
  node: NodeView,
): string {
  const tables = tablesOf(parseToml(path, text).registry);
  const at = tables.findIndex(({ prefix }) => prefix === registry);
  const entry = tables[at];
  if (entry === undefined) return appendToml(text, registryBlock(registry, listener, node));
  if (leadsTo(entry, listener.host)) return text;
  const location = tablesOf(entry.mirror)[0]?.location;
  const block = registryBlock(registry, listener, node);
  return changeToml(path, text, block, (root) => {
    const table = tablesOf(root.registry)[at];
    const [first, ...rest] = tablesOf(table?.mirror);
    if (table === undefined) return;
    const own = typeof location === 'string' && first !== undefined ? { ...first } : {};
    table.mirror = [{ ...own, ...mirrorValue(listener) }, ...rest];
  });
}

function leadsTo(entry: TomlTable, host: string): boolean {
  return tablesOf(entry.mirror)[0]?.location === host;
}

function mirrorValue({ certFile, host }: NodeListener): TomlTable {
  return { location: host, ...(certFile === undefined ? { insecure: true } : {}) };
}

function registryBlock(registry: string, listener: NodeListener, node: NodeView): string {
  const lines = ['[[registry]]', `prefix = "${registry}"`, `location = "${registry}"`];
  if (node.originOf(registry).startsWith('http:')) lines.push('insecure = true');
  lines.push('', '[[registry.mirror]]', `location = "${listener.host}"`);
  if (listener.certFile === undefined) lines.push('insecure = true');
  return `${lines.join('\n')}\n`;
}

interface Entry {
  readonly path: string;
  readonly prefix: string;
  readonly entry: TomlTable;
}

/** `[[registry]]` tables in the order in which they are read. */
function entriesOf(files: HostFiles): Entry[] {
  const dropIns = files.list(DROP_IN_FOLDER).filter((name) => name.endsWith('.conf'));
  return [MAIN_FILE, ...dropIns.map((name) => `${DROP_IN_FOLDER}/${name}`)].flatMap((path) => {
    const text = files.read(path);
    if (text === undefined) return [];
    return tablesOf(parseToml(path, text).registry).map((entry) => {
      const prefix = typeof entry.prefix === 'string' ? entry.prefix : entry.location;
      return { path, prefix: typeof prefix === 'string' ? prefix : '', entry };
    });
  });
}

function judge(target: TargetName, files: HostFiles, { node }: JudgeContext): readonly Finding[] {
  const { failed, ok, warning } = findingsOf(target);
  const entries = entriesOf(files);
  if (files.read(MAIN_FILE) === undefined && entries.length === 0) return [];
  const again = (registry: string): string =>
    `Run "damselfly setup ${target} --registry ${registry} --write"`;
  const last = new Map(entries.map((entry) => [entry.prefix, entry]));
  const findings = [...last.values()].flatMap(({ path, prefix, entry }) =>
    tablesOf(entry.mirror).flatMap((mirror, index): Finding[] => {
      const location = typeof mirror.location === 'string' ? mirror.location : '';
      const listener = listenerFor(node, location);
      if (listener === undefined) return [];
      const what = `${prefix} by ${location}`;
      if (listener.certFile === undefined && mirror.insecure !== true)
        return [failed(path, `${what}: that port speaks plain http`, 'Set insecure = true in that mirror')];
      const origin = namelessOrigin(node, location);
      const [registry = prefix] = prefix.split('/');
      if (origin === undefined)
        return [failed(path, `${what}: the node cannot tell which registry is meant`, again(registry))];
      if (!registry.includes('*') && origin !== node.originOf(registry))
        return [failed(path, `${what}: the node takes it for ${origin}`, again(registry))];
      if (entry.blocked === true)
        return [failed(path, `${prefix} is blocked`, `Take blocked = true out of it`)];
      if (index > 0) {
        const message = `${what} is asked only after another mirror`;
        return [warning(path, message, `Move it to the front of the mirrors of ${prefix}`)];
      }
      return [ok(path, `${what} is asked first`)];
    }),
  );
  if (findings.length > 0) return findings;
  return [warning(MAIN_FILE, 'no registry is pulled through the node', again('HOST'))];
}
