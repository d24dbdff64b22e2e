import { madeBy } from './finding.ts';
import type { NodeListener } from './node-view.ts';
import { insertToml, isTable, parseToml, setTomlKey, stringsOf, tableAt, tomlKey } from './toml-edit.ts';

/** What containerd asks a mirror for: manifests by tag or digest, and blobs. */
export const CAPABILITIES: readonly string[] = ['pull', 'resolve'];

/** A `hosts.toml` that asks the node first. @param server where containerd goes when the node fails; undefined: the registry. */
export function newHostsToml(listener: NodeListener, server: string | undefined): string {
  return [
    madeBy('containerd'),
    server === undefined ? '' : `server = ${JSON.stringify(server)}\n`,
    `\n${hostBlock(listener)}`,
  ].join('');
}

/** The same in a file that is there already: in front of the hosts that it has. */
export function editHostsToml(path: string, text: string, listener: NodeListener): string {
  const root = parseToml(path, text);
  const entry = tableAt(root, ['host', listener.url]);
  if (entry === undefined) {
    const { capabilities, ca } = hostValues(listener);
    return insertToml(
      path,
      text,
      /^[ \t]*\[/,
      hostBlock(listener),
      (wanted) => {
        const hosts = isTable(wanted.host) ? wanted.host : {};
        wanted.host = { [listener.url]: { capabilities, ...(ca === undefined ? {} : { ca }) }, ...hosts };
      },
      (result) => Object.keys(tableAt(result, ['host']) ?? {})[0] === listener.url,
    );
  }
  const has = stringsOf(entry.capabilities);
  if (entry.capabilities === undefined || CAPABILITIES.every((capability) => has.includes(capability)))
    return text;
  const all = [...has, ...CAPABILITIES.filter((capability) => !has.includes(capability))];
  return setTomlKey(path, text, ['host', listener.url], 'capabilities', all);
}

function hostValues(listener: NodeListener): { capabilities: string[]; ca: string | undefined } {
  return { capabilities: [...CAPABILITIES], ca: listener.certFile };
}

function hostBlock(listener: NodeListener): string {
  const { capabilities, ca } = hostValues(listener);
  const list = capabilities.map((capability) => JSON.stringify(capability)).join(', ');
  const lines = [`[${tomlKey(['host', listener.url])}]`, `  capabilities = [${list}]`];
  if (ca !== undefined) lines.push(`  ca = ${JSON.stringify(ca)}`);
  return `${lines.join('\n')}\n`;
}
