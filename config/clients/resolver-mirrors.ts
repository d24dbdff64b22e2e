import type { Finding, JudgeContext, TargetName } from './client-target.ts';
import { findingsOf, madeBy } from './finding.ts';
import { listenerFor, type NodeListener, namelessOrigin } from './node-view.ts';
import { insertToml, isTable, parseToml, type TomlTable, tableAt, tablesOf, tomlKey } from './toml-edit.ts';

/** One `[[resolver.host."…".mirrors]]`, as stargz and SOCI have it. */
export interface ResolverMirror {
  readonly registry: string;
  readonly listener: NodeListener;
  /** Headers of the requests; SOCI knows none. */
  readonly header: Readonly<Record<string, string>> | undefined;
}

/** A new file. */
export function newResolverToml(target: TargetName, mirrors: readonly ResolverMirror[]): string {
  return `${madeBy(target)}\n${mirrors.map(mirrorBlock).join('\n')}`;
}

/** Puts the mirrors in front of those that their registries have. */
export function editResolverToml(path: string, text: string, mirrors: readonly ResolverMirror[]): string {
  return mirrors.reduce((sofar, mirror) => {
    const { registry } = mirror;
    const own = mirrorsOf(parseToml(path, sofar), registry);
    if (own[0] !== undefined && leadsTo(own[0], mirror)) return sofar;
    const header = new RegExp(
      `^[ \\t]*\\[\\[[ \\t]*resolver\\.host\\.["']?${escaped(registry)}["']?\\.mirrors[ \\t]*\\]\\]`,
    );
    return insertToml(path, sofar, header, mirrorBlock(mirror), (root) => {
      const resolver = childOf(root, 'resolver');
      const host = childOf(childOf(resolver, 'host'), registry);
      host.mirrors = [mirrorValue(mirror), ...tablesOf(host.mirrors)];
    });
  }, text);
}

/** Judges the mirrors of all registries. @param named whether the client says itself which registry it means. */
export function judgeResolver(
  target: TargetName,
  path: string,
  text: string,
  { node }: JudgeContext,
): readonly Finding[] {
  const { failed, ok, warning } = findingsOf(target);
  const again = (registry: string): string =>
    `Run "damselfly setup ${target} --registry ${registry} --write"`;
  const hosts = tableAt(parseToml(path, text), ['resolver', 'host']) ?? {};
  const findings = Object.keys(hosts).flatMap((registry) =>
    tablesOf(tableAt(hosts, [registry])?.mirrors).flatMap((mirror, index): Finding[] => {
      const host = typeof mirror.host === 'string' ? mirror.host : '';
      const listener = listenerFor(node, host);
      if (listener === undefined || host === registry) return [];
      const what = `${registry} by ${host}`;
      const plain = /^http:\/\//.test(host) || mirror.insecure === true || isLoopback(host);
      if (plain !== (listener.certFile === undefined)) {
        const speaks = listener.certFile === undefined ? 'plain http' : 'TLS';
        return [failed(path, `${what}: that port speaks ${speaks}`, `Set insecure = ${!plain} there`)];
      }
      const header = Object.entries(isTable(mirror.header) ? mirror.header : {}).find(
        ([name]) => name.toLowerCase() === 'x-dragonfly-registry',
      )?.[1];
      const origin = typeof header === 'string' ? header : namelessOrigin(node, host);
      if (origin === undefined)
        return [failed(path, `${what}: the node cannot tell which registry is meant`, again(registry))];
      if (hostOf(origin) !== hostOf(node.originOf(registry)))
        return [failed(path, `${what}: the node takes it for ${hostOf(origin)}`, again(registry))];
      if (index > 0) {
        const message = `${what} is asked only after another mirror`;
        return [warning(path, message, `Move it to the front of the mirrors of ${registry}`)];
      }
      return [ok(path, `${what} is asked first`)];
    }),
  );
  if (findings.length > 0) return findings;
  return [warning(path, 'no registry is read through the node', again('HOST'))];
}

function mirrorBlock(mirror: ResolverMirror): string {
  const { header, listener, registry } = mirror;
  const table = tomlKey(['resolver', 'host', registry, 'mirrors']);
  const lines = [`[[${table}]]`, `  host = "${listener.host}"`];
  if (listener.certFile === undefined) lines.push('  insecure = true');
  if (header !== undefined) {
    lines.push(`  [${table}.header]`);
    for (const [name, value] of Object.entries(header))
      lines.push(`    ${tomlKey([name])} = ${JSON.stringify(value)}`);
  }
  return `${lines.join('\n')}\n`;
}

function mirrorValue({ header, listener }: ResolverMirror): TomlTable {
  return {
    host: listener.host,
    ...(listener.certFile === undefined ? { insecure: true } : {}),
    ...(header === undefined ? {} : { header: { ...header } }),
  };
}

function mirrorsOf(root: TomlTable, registry: string): readonly TomlTable[] {
  return tablesOf(tableAt(root, ['resolver', 'host', registry])?.mirrors);
}

function leadsTo(mirror: TomlTable, wanted: ResolverMirror): boolean {
  const value = mirrorValue(wanted);
  return Object.keys(value).every((key) => JSON.stringify(mirror[key]) === JSON.stringify(value[key]));
}

function childOf(table: TomlTable, key: string): TomlTable {
  const child = table[key];
  if (isTable(child)) return child;
  const made: TomlTable = {};
  table[key] = made;
  return made;
}

function escaped(text: string): string {
  return text.replace(/[.\\+?^${}()|[\]]/g, '\\$&');
}

/** Both clients take plain http for loopback by themselves. */
function isLoopback(host: string): boolean {
  return /^(https?:\/\/)?(localhost|127(\.\d+){3}|\[::1\])(:|$)/.test(host) && !/^https:/.test(host);
}

function hostOf(origin: string): string {
  return URL.parse(/^https?:\/\//.test(origin) ? origin : `https://${origin}`)?.host ?? origin;
}
