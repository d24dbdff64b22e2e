import { readFileSync } from 'node:fs';
import { tcpAddress } from '../../../config/address.ts';
import type { ClientTarget, Finding, Plan, TargetName } from '../../../config/clients/client-target.ts';
import type { HostFiles } from '../../../config/clients/host-files.ts';
import { type NodeView, nodeView } from '../../../config/clients/node-view.ts';
import { TARGETS } from '../../../config/clients/targets.ts';
import { REFUSED } from '../../../config/field.ts';
import { configSchema, toConfig } from '../../../config/schema.ts';

/** Files of a host that is nowhere. */
export function filesOf(contents: Readonly<Record<string, string>> = {}): HostFiles {
  return {
    read: (path) => contents[path],
    list: (folder) => {
      const names = Object.keys(contents)
        .filter((path) => path.startsWith(`${folder}/`))
        .map((path) => path.slice(folder.length + 1).split('/')[0] ?? '');
      return [...new Set(names)].sort();
    },
  };
}

/** @param keys of a configuration file. @param main as `--node`. */
export function nodeOf(keys: Readonly<Record<string, unknown>> = {}, main?: string): NodeView {
  const address = main === undefined ? undefined : tcpAddress(main);
  if (address === REFUSED) throw new Error(`${main} is no address`);
  return nodeView(toConfig(configSchema.parse(keys)), address);
}

export function targetOf(name: TargetName): ClientTarget {
  const target = TARGETS.find((candidate) => candidate.name === name);
  if (target === undefined) throw new Error(`no target ${name}`);
  return target;
}

export interface Host {
  readonly files?: Readonly<Record<string, string>>;
  readonly node?: NodeView;
  readonly registries?: readonly string[];
  readonly version?: string;
}

export function planOf(name: TargetName, host: Host = {}): Plan {
  return targetOf(name).plan({
    files: filesOf(host.files),
    node: host.node ?? nodeOf(),
    registries: host.registries ?? [],
    clientVersion: host.version,
  });
}

export function judgeOf(name: TargetName, host: Host): readonly Finding[] {
  return targetOf(name).judge(filesOf(host.files), {
    node: host.node ?? nodeOf(),
    clientVersion: host.version,
  });
}

/** The host's files once a plan is carried out. */
export function after(plan: Plan, files: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { ...files, ...Object.fromEntries(plan.files.map(({ content, path }) => [path, content])) };
}

/** The planned contents of one file. */
export function contentOf(plan: Plan, path: string): string {
  const file = plan.files.find((candidate) => candidate.path === path);
  if (file === undefined) throw new Error(`${path} is not planned`);
  return file.content;
}

export function fixture(name: string): string {
  return readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8');
}

/** Where each target's files lie on a host that has them all. */
export const HOST_WITH_ALL: Readonly<Record<string, string>> = {
  '/etc/containerd/config.toml': fixture('containerd-1.6.toml'),
  '/etc/containerd/certs.d/registry.example.com/hosts.toml': fixture('hosts.toml'),
  '/etc/nydus/config.toml': fixture('nydus-snapshotter.toml'),
  '/etc/nydus/nydusd-config.fusedev.json': fixture('nydusd-fusedev.json.txt'),
  '/etc/nydus/nydusd-config.json': fixture('nydusd-mirrors.json.txt'),
  '/etc/containerd-stargz-grpc/config.toml': fixture('stargz.toml'),
  '/etc/soci-snapshotter-grpc/config.toml': fixture('soci.toml'),
  '/etc/containers/registries.conf': fixture('registries.conf'),
  '/etc/docker/daemon.json': fixture('daemon.json.txt'),
  '/etc/buildkit/buildkitd.toml': fixture('buildkitd.toml'),
  '/etc/overlaybd/overlaybd.json': fixture('overlaybd.json.txt'),
};
