import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import type { TargetName, Verdict } from '../../../config/clients/client-target.ts';
import { TARGETS } from '../../../config/clients/targets.ts';
import { after, fixture, HOST_WITH_ALL, type Host, judgeOf, nodeOf, planOf } from './support.ts';

test('a client that is not configured is not judged', () => {
  for (const { name } of TARGETS) assert.deepEqual(judgeOf(name, {}), [], name);
});

test('a client that is configured for something else pulls past the node, and the remedy is setup', () => {
  for (const { name } of TARGETS) {
    const findings = judgeOf(name, { files: HOST_WITH_ALL });
    assert.ok(findings.length > 0, name);
    for (const finding of findings) {
      assert.equal(finding.target, name);
      assert.notEqual(finding.verdict, 'ok', name);
      assert.match(finding.remedy ?? '', new RegExp(`damselfly setup ${name}`), name);
      assert.ok(finding.path in HOST_WITH_ALL, `${name}: ${finding.path}`);
    }
  }
});

test('what setup writes, and prints for the node, is judged to be well', () => {
  for (const { name } of TARGETS)
    for (const version of ['2.4.4', undefined]) {
      const host = { files: HOST_WITH_ALL, registries: ['docker.io'], version };
      const plan = planOf(name, host);
      const node = nodeOf((parse(plan.damselfly ?? '') ?? {}) as Record<string, unknown>);
      const findings = judgeOf(name, { files: after(plan, HOST_WITH_ALL), node, version });
      assert.ok(findings.length > 0, name);
      assert.deepEqual(
        findings.filter(({ verdict }) => verdict !== 'ok'),
        [],
        name,
      );
      for (const { remedy } of findings) assert.equal(remedy, undefined);
    }
});

test('what setup writes is of no use to clients that name no registry until the node has the listener', () => {
  for (const name of ['soci', 'podman', 'cri-o', 'docker'] as const) {
    const files = after(planOf(name, { files: HOST_WITH_ALL, registries: ['docker.io'] }), HOST_WITH_ALL);
    const verdicts = judgeOf(name, { files }).map(({ verdict }) => verdict);
    assert.deepEqual(verdicts, ['warning'], name);
  }
});

const CONFIG = '/etc/containerd/config.toml';
const HOSTS = '/etc/containerd/certs.d/_default/hosts.toml';
const READS =
  'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n';
const NYDUS = '/etc/nydus/nydusd-config.json';
const TEMPLATE = '/etc/nydus/nydusd-config.fusedev.json';
const SNAPSHOTTER = '/etc/nydus/config.toml';
const STARGZ = '/etc/containerd-stargz-grpc/config.toml';
const BUILDKIT = '/etc/buildkit/buildkitd.toml';
const DROP_IN = '/etc/containers/registries.conf.d/50-damselfly.conf';
const TLS = nodeOf({ proxy: { tls: { certFile: '/c', keyFile: '/k' } } });

function nydus(config: Record<string, unknown>): string {
  return JSON.stringify({ device: { backend: { type: 'registry', config } } });
}

const PROXY = {
  url: 'http://127.0.0.1:4001',
  ping_url: 'http://127.0.0.1:4001/healthy',
  fallback: true,
  use_http: true,
};
const MIRROR = {
  host: 'http://127.0.0.1:4001',
  headers: { 'x-dragonfly-registry': 'https://r.example.com' },
};

function registryConf(extra: string, mirror: string): string {
  return `[[registry]]\nprefix = "quay.io"\nlocation = "quay.io"\n${extra}[[registry.mirror]]\n${mirror}`;
}

/** One fault each: what is on the host, and what is found. */
const FAULTS: readonly [TargetName, string, Host, Verdict, RegExp][] = [
  [
    'containerd',
    'config_path is not set',
    { files: { [CONFIG]: 'version = 2\n', [HOSTS]: '[host."http://127.0.0.1:4001"]\n' }, version: '1.7.2' },
    'failed',
    /config_path is not set/,
  ],
  [
    'containerd',
    'mirrors of the old form',
    {
      files: {
        [CONFIG]:
          'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.mirrors."a"]\nendpoint = ["x"]\n',
        [HOSTS]: '[host."http://127.0.0.1:4001"]\n',
      },
      version: '2.4.2',
    },
    'failed',
    /mirrors of the old form/,
  ],
  [
    'containerd',
    'a capability that lacks',
    { files: { [CONFIG]: READS, [HOSTS]: '[host."http://127.0.0.1:4001"]\ncapabilities = ["pull"]\n' } },
    'warning',
    /lacks the capability resolve/,
  ],
  [
    'containerd',
    'another host first',
    { files: { [CONFIG]: READS, [HOSTS]: '[host."https://other"]\n[host."http://localhost:4001"]\n' } },
    'warning',
    /asked only after https:\/\/other/,
  ],
  [
    'containerd',
    'the wrong scheme',
    { files: { [CONFIG]: READS, [HOSTS]: '[host."https://127.0.0.1:4001"]\n' } },
    'failed',
    /wrong scheme/,
  ],
  [
    'containerd',
    'a certificate that nobody names',
    { files: { [CONFIG]: READS, [HOSTS]: '[host."https://127.0.0.1:4001"]\n' }, node: TLS },
    'warning',
    /has no ca/,
  ],
  [
    'nydusd',
    'mirrors, new',
    { files: { [NYDUS]: nydus({ mirrors: [MIRROR] }) }, version: '2.3.5' },
    'failed',
    /ignores mirrors from 2\.3\.5/,
  ],
  [
    'nydusd',
    'mirrors, of unknown age',
    { files: { [NYDUS]: nydus({ mirrors: [MIRROR] }) } },
    'warning',
    /ignores mirrors from 2\.3\.5/,
  ],
  [
    'nydusd',
    'no auth_through',
    { files: { [NYDUS]: nydus({ mirrors: [MIRROR] }) }, version: '2.2.2' },
    'failed',
    /auth_through/,
  ],
  [
    'nydusd',
    'no registry is named',
    { files: { [NYDUS]: nydus({ mirrors: [{ host: MIRROR.host }] }) }, version: '2.3.0' },
    'failed',
    /do not say which registry/,
  ],
  [
    'nydusd',
    'both forms',
    { files: { [NYDUS]: nydus({ mirrors: [MIRROR], proxy: PROXY }) } },
    'failed',
    /both set/,
  ],
  [
    'nydusd',
    'no fallback',
    { files: { [NYDUS]: nydus({ proxy: { ...PROXY, fallback: false } }) } },
    'warning',
    /fallback is false/,
  ],
  [
    'nydusd',
    'no use_http',
    { files: { [NYDUS]: nydus({ proxy: { ...PROXY, use_http: false } }) } },
    'warning',
    /use_http/,
  ],
  [
    'nydusd',
    'no ping',
    { files: { [NYDUS]: nydus({ proxy: { ...PROXY, ping_url: undefined } }) } },
    'warning',
    /ping_url/,
  ],
  [
    'nydusd',
    'https',
    { files: { [NYDUS]: nydus({ proxy: { ...PROXY, url: 'https://127.0.0.1:4001' } }) } },
    'failed',
    /wrong scheme/,
  ],
  [
    'nydusd',
    'a node with TLS',
    { files: { [NYDUS]: nydus({ proxy: PROXY }) }, node: TLS },
    'failed',
    /speaks TLS/,
  ],
  [
    'nydus-snapshotter',
    'fallback is missing in the template',
    {
      files: {
        [SNAPSHOTTER]: fixture('nydus-snapshotter.toml'),
        [TEMPLATE]: nydus({ proxy: { ...PROXY, fallback: undefined } }),
      },
    },
    'warning',
    /fallback is missing/,
  ],
  [
    'nydus-snapshotter',
    'no template',
    { files: { [SNAPSHOTTER]: fixture('nydus-snapshotter.toml') } },
    'warning',
    /it is not there/,
  ],
  [
    'nydus-snapshotter',
    'its own mirrors',
    {
      files: {
        [SNAPSHOTTER]: `${fixture('nydus-snapshotter.toml').replace('#dir', 'dir')}`,
        [TEMPLATE]: nydus({ proxy: PROXY }),
        '/etc/nydus/certs.d/docker.io/hosts.toml': '[host."http://127.0.0.1:4001"]\n',
      },
    },
    'warning',
    /mirror of the snapshotter/,
  ],
  [
    'stargz',
    'no registry is named',
    {
      files: { [STARGZ]: '[[resolver.host."quay.io".mirrors]]\nhost = "127.0.0.1:4001"\ninsecure = true\n' },
    },
    'failed',
    /cannot tell which registry/,
  ],
  [
    'stargz',
    'another registry is meant',
    {
      files: { [STARGZ]: '[[resolver.host."quay.io".mirrors]]\nhost = "127.0.0.1:4001"\ninsecure = true\n' },
      node: nodeOf({ proxy: { defaultOrigin: 'https://registry-1.docker.io' } }),
    },
    'failed',
    /takes it for registry-1\.docker\.io/,
  ],
  [
    'podman',
    'TLS is meant',
    {
      files: { [DROP_IN]: registryConf('', 'location = "127.0.0.1:4001"\n') },
      node: nodeOf({ proxy: { defaultOrigin: 'https://quay.io' } }),
    },
    'failed',
    /plain http/,
  ],
  [
    'podman',
    'blocked',
    {
      files: {
        [DROP_IN]: registryConf('blocked = true\n', 'location = "127.0.0.1:4001"\ninsecure = true\n'),
      },
      node: nodeOf({ proxy: { defaultOrigin: 'https://quay.io' } }),
    },
    'failed',
    /blocked/,
  ],
  [
    'docker',
    'the node does not know which registry',
    { files: { '/etc/docker/daemon.json': '{"registry-mirrors":["http://127.0.0.1:4001/"]}' } },
    'failed',
    /cannot tell which registry/,
  ],
  [
    'buildkit',
    'plain http is not told',
    {
      files: { [BUILDKIT]: '[registry."docker.io"]\nmirrors = ["node.lan:4001"]\n' },
      node: nodeOf({ proxy: { listen: '0.0.0.0:4001' } }),
    },
    'failed',
    /plain http/,
  ],
  [
    'overlaybd',
    'no rule',
    {
      files: {
        '/etc/overlaybd/overlaybd.json': '{"p2pConfig":{"enable":true,"address":"localhost:4001/x"}}',
      },
    },
    'warning',
    /pass through the node uncached/,
  ],
  [
    'overlaybd',
    'no prefix',
    {
      files: {
        '/etc/overlaybd/overlaybd.json': '{"p2pConfig":{"enable":true,"address":"http://localhost:4001"}}',
      },
    },
    'failed',
    /no prefix/,
  ],
  [
    'overlaybd',
    'off',
    {
      files: {
        '/etc/overlaybd/overlaybd.json': '{"p2pConfig":{"enable":false,"address":"http://localhost:4001/x"}}',
      },
    },
    'warning',
    /past the node/,
  ],
];

describe('faults', () => {
  for (const [target, name, host, verdict, message] of FAULTS)
    test(`${target}: ${name}`, () => {
      const wrong = judgeOf(target, host).filter((finding) => finding.verdict !== 'ok');
      assert.equal(wrong.length, 1, JSON.stringify(wrong, undefined, 2));
      assert.equal(wrong[0]?.verdict, verdict);
      assert.match(wrong[0]?.message ?? '', message);
      assert.ok((wrong[0]?.remedy ?? '').length > 0);
    });
});

test('addresses that are this node', () => {
  const node = nodeOf({
    proxy: { listen: '0.0.0.0:4001', listeners: [{ listen: '127.0.0.1:4011', origin: 'https://quay.io' }] },
    origins: [{ host: 'registry.example.com', names: ['registry.node.local:4001'] }],
  });
  const judged = (host: string): readonly string[] =>
    judgeOf('stargz', {
      node,
      files: {
        [STARGZ]: `[[resolver.host."registry.example.com".mirrors]]\nhost = "${host}"\ninsecure = true\n`,
      },
    }).map(({ verdict }) => verdict);
  assert.deepEqual(judged('registry.node.local:4001'), ['ok']);
  assert.deepEqual(judged('10.0.0.7:4001'), ['failed']);
  assert.deepEqual(judged('localhost:4011'), ['failed']);
  assert.deepEqual(judged('127.0.0.1:4999'), ['warning']);
});
