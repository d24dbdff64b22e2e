import type { ClientTarget, Plan, PlanRequest } from './client-target.ts';
import {
  backendOf,
  editNydusJson,
  formFor,
  MIRRORS_GONE,
  type NydusForm,
  type NydusRoute,
  newNydusJson,
} from './nydus-backend.ts';
import { judgeNydus } from './nydus-judge.ts';
import { chooseRegistries, plainHttp } from './routes.ts';
import { UnsupportedRequest } from './unsupported-request.ts';

const FILE = '/etc/nydus/nydusd-config.json';

/** A nydusd that is started by hand or by something other than the snapshotter. */
export const nydusd: ClientTarget = {
  name: 'nydusd',
  title: 'nydusd',
  configFile: FILE,
  versionProgram: 'nydusd',
  registries: 'any',
  plan,
  judge: (files, context) => {
    const text = files.read(FILE);
    return text === undefined ? [] : judgeNydus('nydusd', FILE, text, context, false);
  },
};

function plan({ clientVersion, files, node, registries }: PlanRequest): Plan {
  const form = formFor(clientVersion);
  const listener = plainHttp('nydusd', node.main);
  if (registries.length > 1) {
    throw new UnsupportedRequest(
      `nydusd takes one registry per configuration, not ${registries.length}: run this once for each`,
    );
  }
  const text = files.read(FILE);
  if (text !== undefined) {
    const { host, scheme } = backendOf(FILE, text);
    const own = registries[0] ?? (typeof host === 'string' && host !== '' ? host : undefined);
    const plainly = registries.length === 0 && scheme === 'http' && own !== undefined;
    const origin = own === undefined ? undefined : plainly ? originByHttp(own) : node.originOf(own);
    const route = { form, listener, version: clientVersion, origin };
    const { content, warnings } = editNydusJson(FILE, text, route);
    return {
      files: [{ path: FILE, content }],
      damselfly: undefined,
      notes: versionNotes(clientVersion),
      warnings: [...warnings, ...formWarnings(form)],
    };
  }
  const chosen = chooseRegistries(registries, node);
  const origin = node.originOf(chosen.registries[0] ?? 'docker.io');
  const url = new URL(origin);
  const route: NydusRoute = { form, listener, version: clientVersion, origin };
  const backend = { scheme: url.protocol.slice(0, -1), host: url.host, repo: 'REPOSITORY' };
  return {
    files: [{ path: FILE, content: newNydusJson(route, backend) }],
    damselfly: undefined,
    notes: [
      ...versionNotes(clientVersion),
      ...chosen.notes,
      'Put the repository of the image in place of REPOSITORY, and "auth" (base64 of user:password) beside it where the registry wants a login.',
    ],
    warnings: formWarnings(form),
  };
}

function versionNotes(version: string | undefined): string[] {
  if (version !== undefined) return [];
  return [
    `The version of nydusd is not known, so this is the form of ${MIRRORS_GONE} and newer, which 2.2 takes as well; --client-version names another.`,
  ];
}

function formWarnings(form: NydusForm): string[] {
  if (form === 'proxy') return [];
  return [
    `nydusd from ${MIRRORS_GONE} on ignores mirrors and reads past the node without a word: run this again after an upgrade.`,
  ];
}

function originByHttp(host: string): NydusRoute['origin'] {
  return URL.parse(`http://${host}`)?.origin as NydusRoute['origin'];
}
