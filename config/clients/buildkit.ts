import type { ClientTarget, Finding, JudgeContext, Plan, PlanRequest } from './client-target.ts';
import { findingsOf, madeBy } from './finding.ts';
import type { HostFiles } from './host-files.ts';
import { listenerFor, type NodeListener } from './node-view.ts';
import { chooseRegistries } from './routes.ts';
import { parseToml, setTomlKey, stringsOf, tableAt, tomlKey } from './toml-edit.ts';

const FILE = '/etc/buildkit/buildkitd.toml';

const { failed, ok, warning } = findingsOf('buildkit');

/** BuildKit names the registry (`ns=`); that the mirror speaks plain http is told in the mirror's own entry. */
export const buildkit: ClientTarget = {
  name: 'buildkit',
  title: 'BuildKit',
  configFile: FILE,
  versionProgram: undefined,
  registries: 'any',
  plan,
  judge,
};

function plan({ files, node, registries }: PlanRequest): Plan {
  const chosen = chooseRegistries(registries, node);
  const text = files.read(FILE);
  const content =
    text === undefined ? newFile(chosen.registries, node.main) : edit(text, chosen.registries, node.main);
  return {
    files: [{ path: FILE, content }],
    damselfly: undefined,
    notes: [...chosen.notes, 'Restart buildkitd afterwards.'],
    warnings: [],
  };
}

function newFile(registries: readonly string[], listener: NodeListener): string {
  const [key, value] = transport(listener);
  const tables = registries.map(
    (registry) => `[${tomlKey(['registry', registry])}]\n  mirrors = ["${listener.host}"]\n`,
  );
  const own = `[${tomlKey(['registry', listener.host])}]\n  ${key} = ${JSON.stringify(value)}\n`;
  return [`${madeBy('buildkit')}`, ...tables, own].join('\n');
}

function edit(text: string, registries: readonly string[], listener: NodeListener): string {
  const [key, value] = transport(listener);
  const mirrored = registries.reduce((sofar, registry) => {
    const mirrors = stringsOf(tableAt(parseToml(FILE, sofar), ['registry', registry])?.mirrors);
    const wanted = [listener.host, ...mirrors.filter((mirror) => mirror !== listener.host)];
    return setTomlKey(FILE, sofar, ['registry', registry], 'mirrors', wanted);
  }, text);
  return setTomlKey(FILE, mirrored, ['registry', listener.host], key, value);
}

function transport(listener: NodeListener): [string, unknown] {
  return listener.certFile === undefined ? ['http', true] : ['ca', [listener.certFile]];
}

function judge(files: HostFiles, { node }: JudgeContext): readonly Finding[] {
  const text = files.read(FILE);
  if (text === undefined) return [];
  const registry = tableAt(parseToml(FILE, text), ['registry']) ?? {};
  const findings = Object.keys(registry).flatMap((name) => {
    const mirrors = stringsOf(tableAt(registry, [name])?.mirrors);
    return mirrors.flatMap((mirror, index): Finding[] => {
      const listener = listenerFor(node, mirror);
      if (listener === undefined) return [];
      const what = `${name} by ${mirror}`;
      const own = tableAt(registry, [mirror.split('/')[0] ?? mirror]) ?? {};
      const plain =
        own.http === true || (own.http === undefined && /^(localhost|127\.|\[::1\])/.test(mirror));
      if (listener.certFile === undefined && !plain) {
        const remedy = `Set http = true in [registry."${mirror}"]`;
        return [failed(FILE, `${what}: that port speaks plain http`, remedy)];
      }
      if (listener.certFile !== undefined && plain) {
        const remedy = `Set http = false and ca = ["${listener.certFile}"] in [registry."${mirror}"]`;
        return [failed(FILE, `${what}: that port speaks TLS`, remedy)];
      }
      if (index > 0) {
        const message = `${what} is asked only after ${mirrors[0]}`;
        return [warning(FILE, message, `Put it first in the mirrors of ${name}`)];
      }
      return [ok(FILE, `${what} is asked first`)];
    });
  });
  if (findings.length > 0) return findings;
  const remedy = 'Run "damselfly setup buildkit --registry HOST --write", then restart buildkitd';
  return [warning(FILE, 'no registry is pulled through the node', remedy)];
}
