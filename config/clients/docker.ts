import type { ClientTarget, Finding, JudgeContext, Plan, PlanRequest } from './client-target.ts';
import { findingsOf } from './finding.ts';
import type { HostFiles } from './host-files.ts';
import { jsonText, parseJson, setJson } from './json-edit.ts';
import { listenerFor, namelessOrigin } from './node-view.ts';
import { namelessRoutes } from './routes.ts';
import { UnsupportedRequest } from './unsupported-request.ts';

const FILE = '/etc/docker/daemon.json';
const KEY = 'registry-mirrors';
const HUB = 'docker.io';

const { failed, ok, warning } = findingsOf('docker');

/** Docker: mirrors are for docker.io alone, and do not say so in what they are asked. */
export const docker: ClientTarget = {
  name: 'docker',
  title: 'Docker',
  configFile: FILE,
  versionProgram: undefined,
  registries: HUB,
  plan,
  judge,
};

function plan({ files, node, registries }: PlanRequest): Plan {
  const other = registries.find((registry) => registry !== HUB);
  if (other !== undefined) {
    throw new UnsupportedRequest(
      `docker has mirrors for docker.io only (registry-mirrors), so ${other} cannot be pulled through a node by it: ` +
        'leave --registry out, or pull that registry with containerd, podman or buildkit',
    );
  }
  const routes = namelessRoutes([HUB], node);
  const listener = routes.listeners.get(HUB) ?? node.main;
  const text = files.read(FILE);
  const mirrors = text === undefined ? [] : mirrorsOf(text);
  const same = (mirror: string): boolean => mirror.replace(/\/+$/, '') === listener.url;
  const wanted = same(mirrors[0] ?? '')
    ? mirrors
    : [listener.url, ...mirrors.filter((mirror) => !same(mirror))];
  const content = text === undefined ? jsonText({ [KEY]: wanted }) : setJson(FILE, text, [KEY], wanted);
  return {
    files: [{ path: FILE, content }],
    damselfly: routes.damselfly,
    notes: [
      'Reload Docker afterwards (systemctl reload docker).',
      'It holds for docker.io; Docker pulls from every other registry without a mirror.',
    ],
    warnings:
      listener.certFile === undefined
        ? []
        : [
            `Copy ${listener.certFile} to /etc/docker/certs.d/${listener.host}/ca.crt: the mirror speaks TLS.`,
          ],
  };
}

function mirrorsOf(text: string): readonly string[] {
  const value = parseJson(FILE, text)[KEY];
  return Array.isArray(value) ? value.filter((mirror) => typeof mirror === 'string') : [];
}

function judge(files: HostFiles, { node }: JudgeContext): readonly Finding[] {
  const text = files.read(FILE);
  if (text === undefined) return [];
  const again = 'Run "damselfly setup docker --write", then reload docker';
  const mirrors = mirrorsOf(text);
  const findings = mirrors.flatMap((mirror, index): Finding[] => {
    const listener = listenerFor(node, mirror);
    if (listener === undefined) return [];
    if (!mirror.startsWith(new URL(listener.url).protocol))
      return [failed(FILE, `${mirror} has the wrong scheme`, `Write it as ${listener.url}`)];
    const origin = namelessOrigin(node, mirror);
    if (origin !== node.originOf(HUB)) {
      const takes = origin === undefined ? 'cannot tell which registry is meant' : `takes it for ${origin}`;
      return [failed(FILE, `${mirror}: the node ${takes}`, again)];
    }
    if (index > 0) {
      const message = `${mirror} is asked only after ${mirrors[0]}`;
      return [warning(FILE, message, `Put it first in ${KEY}`)];
    }
    return [ok(FILE, `docker.io by ${mirror} is asked first`)];
  });
  return findings.length > 0 ? findings : [warning(FILE, 'docker.io is pulled past the node', again)];
}
