import { stringify } from 'yaml';
import type { ClientTarget, Finding, JudgeContext, Plan, PlanRequest } from './client-target.ts';
import { findingsOf } from './finding.ts';
import type { HostFiles } from './host-files.ts';
import { jsonText, objectAt, parseJson, setJson } from './json-edit.ts';
import { listenerFor } from './node-view.ts';
import { plainHttp } from './routes.ts';

const FILE = '/etc/overlaybd/overlaybd.json';
const PREFIX = '/damselfly';

/**
 * Where registries send a blob's reader to: object stores whose URLs hold the digest, as the storage of most registries
 * has it (`…/docker/registry/v2/blobs/sha256/ab/ab12…/data`, `…/sha256:ab12…`).
 */
const BLOBS_IN_STORES = '^https?://[^/]+/.*sha256[:/].*[0-9a-f]{64}';

const { failed, ok, warning } = findingsOf('overlaybd');

/** overlaybd: whole URLs behind a prefix, those of object stores among them. */
export const overlaybd: ClientTarget = {
  name: 'overlaybd',
  title: 'overlaybd',
  configFile: FILE,
  versionProgram: undefined,
  registries: 'any',
  plan,
  judge,
};

function plan({ files, node, registries }: PlanRequest): Plan {
  const address = `${plainHttp('overlaybd', node.main).url}${PREFIX}`;
  const text = files.read(FILE);
  const content =
    text === undefined
      ? jsonText({ p2pConfig: { enable: true, address } })
      : setJson(FILE, setJson(FILE, text, ['p2pConfig', 'enable'], true), ['p2pConfig', 'address'], address);
  const covered = coversStores(node.rules);
  const notes = [
    'Restart overlaybd-tcmu afterwards. With p2pConfig on it keeps no cache of its own: every read comes here.',
  ];
  if (registries.length > 0) notes.push('It holds for all registries: --registry changes nothing.');
  if (!covered) {
    notes.push(
      'Registries that redirect their blobs to an object store need the rule below, else those reads pass through uncached.',
    );
  }
  return {
    files: [{ path: FILE, content }],
    damselfly: covered ? undefined : stringify({ proxy: { rules: [{ regex: BLOBS_IN_STORES }] } }),
    notes,
    warnings:
      text === undefined
        ? [
            `${FILE} is not there: overlaybd needs its other settings as well, so install it first, then run this again.`,
          ]
        : [],
  };
}

const SAMPLE = `https://bucket.example.com/docker/registry/v2/blobs/sha256/ab/${'ab'.repeat(32)}/data`;

function coversStores(rules: readonly string[]): boolean {
  return rules.some((rule) => new RegExp(rule).test(SAMPLE));
}

function judge(files: HostFiles, { node }: JudgeContext): readonly Finding[] {
  const text = files.read(FILE);
  if (text === undefined) return [];
  const again = 'Run "damselfly setup overlaybd --write", then restart overlaybd-tcmu';
  const p2p = objectAt(parseJson(FILE, text), ['p2pConfig']);
  const address = typeof p2p?.address === 'string' ? p2p.address : '';
  const listener = listenerFor(node, address);
  if (p2p?.enable !== true || listener === undefined)
    return [warning(FILE, 'overlaybd reads past the node', again)];
  if (listener.certFile !== undefined) {
    const remedy = 'Add a plain listener on loopback to proxy.listeners, and name it in p2pConfig.address';
    return [failed(FILE, `${listener.host} speaks TLS, and overlaybd needs plain http`, remedy)];
  }
  if (!/^[a-z]+:\/\/[^/]+\/[^/]/i.test(address) && !/^[^/:]+:\d+\/[^/]/.test(address))
    return [failed(FILE, `p2pConfig.address ${address} has no prefix behind its port`, again)];
  if (!coversStores(node.rules)) {
    return [
      warning(
        FILE,
        'blobs that a registry redirects to an object store pass through the node uncached',
        'Add the rule to proxy.rules that "damselfly setup overlaybd" prints',
      ),
    ];
  }
  return [ok(FILE, `overlaybd reads through ${address}`)];
}
