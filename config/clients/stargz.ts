import type { ClientTarget, Plan, PlanRequest } from './client-target.ts';
import { editResolverToml, judgeResolver, newResolverToml } from './resolver-mirrors.ts';
import { chooseRegistries } from './routes.ts';

const FILE = '/etc/containerd-stargz-grpc/config.toml';

/** stargz-snapshotter. Up to 0.18 it names no registry, so that a header does: every version sends that. */
export const stargz: ClientTarget = {
  name: 'stargz',
  title: 'stargz-snapshotter',
  configFile: FILE,
  versionProgram: undefined,
  registries: 'any',
  plan,
  judge: (files, context) => {
    const text = files.read(FILE);
    return text === undefined ? [] : judgeResolver('stargz', FILE, text, context);
  },
};

function plan({ files, node, registries }: PlanRequest): Plan {
  const chosen = chooseRegistries(registries, node);
  const mirrors = chosen.registries.map((registry) => ({
    registry,
    listener: node.main,
    header: { 'X-Dragonfly-Registry': node.originOf(registry) },
  }));
  const text = files.read(FILE);
  const content =
    text === undefined ? newResolverToml('stargz', mirrors) : editResolverToml(FILE, text, mirrors);
  const { certFile } = node.main;
  return {
    files: [{ path: FILE, content }],
    damselfly: undefined,
    notes: [
      ...chosen.notes,
      'Restart stargz-snapshotter afterwards. Manifests are pulled by containerd itself: run "damselfly setup containerd" as well.',
    ],
    warnings:
      certFile === undefined
        ? []
        : [`stargz-snapshotter takes no CA of a mirror: this host has to trust ${certFile} by itself.`],
  };
}
