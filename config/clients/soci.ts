import type { ClientTarget, Plan, PlanRequest } from './client-target.ts';
import { editResolverToml, judgeResolver, newResolverToml } from './resolver-mirrors.ts';
import { chooseRegistries, namelessRoutes } from './routes.ts';

const FILE = '/etc/soci-snapshotter-grpc/config.toml';

/** SOCI: no header and no `ns`, so that each registry needs a listener of its own. */
export const soci: ClientTarget = {
  name: 'soci',
  title: 'soci-snapshotter',
  configFile: FILE,
  versionProgram: undefined,
  registries: 'any',
  plan,
  judge: (files, context) => {
    const text = files.read(FILE);
    return text === undefined ? [] : judgeResolver('soci', FILE, text, context);
  },
};

function plan({ files, node, registries }: PlanRequest): Plan {
  const chosen = chooseRegistries(registries, node);
  const routes = namelessRoutes(chosen.registries, node);
  const mirrors = [...routes.listeners].map(([registry, listener]) => ({
    registry,
    listener,
    header: undefined,
  }));
  const text = files.read(FILE);
  const content =
    text === undefined ? newResolverToml('soci', mirrors) : editResolverToml(FILE, text, mirrors);
  const trusted = mirrors.find(({ listener }) => listener.certFile !== undefined)?.listener.certFile;
  return {
    files: [{ path: FILE, content }],
    damselfly: routes.damselfly,
    notes: [
      ...chosen.notes,
      'Restart soci-snapshotter afterwards. Manifests are pulled by containerd itself: run "damselfly setup containerd" as well.',
      'Indexes, zTOCs and the parallel pull of SOCI never use a mirror: of an image only the lazily read layers come through the node.',
    ],
    warnings:
      trusted === undefined
        ? []
        : [`soci-snapshotter takes no CA of a mirror: this host has to trust ${trusted} by itself.`],
  };
}
