import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { registryName } from '../../../config/clients/routes.ts';
import { UnsupportedRequest } from '../../../config/clients/unsupported-request.ts';
import { versionIn } from '../../../config/clients/version.ts';
import { configSchema } from '../../../config/schema.ts';
import { contentOf, nodeOf, planOf } from './support.ts';

const REGISTRY = 'registry.example.com';
const CERTS = '/etc/containerd/certs.d';

test('containerd: a file per registry, _default for all', () => {
  assert.equal(
    contentOf(planOf('containerd', { registries: [REGISTRY] }), `${CERTS}/${REGISTRY}/hosts.toml`),
    `# Made by "damselfly setup containerd"; "damselfly setup containerd --undo" takes it back.
server = "https://registry.example.com"

[host."http://127.0.0.1:4001"]
  capabilities = ["pull", "resolve"]
`,
  );
  assert.equal(
    contentOf(planOf('containerd'), `${CERTS}/_default/hosts.toml`),
    `# Made by "damselfly setup containerd"; "damselfly setup containerd --undo" takes it back.

[host."http://127.0.0.1:4001"]
  capabilities = ["pull", "resolve"]
`,
  );
  const two = planOf('containerd', { registries: ['docker.io', '10.0.0.5:5000'], version: '2.4.2' });
  assert.deepEqual(
    two.files.map(({ path }) => path),
    [`${CERTS}/docker.io/hosts.toml`, `${CERTS}/10.0.0.5:5000/hosts.toml`],
  );
  assert.match(two.files[0]?.content ?? '', /server = "https:\/\/registry-1\.docker\.io"/);
});

test('containerd: an insecure origin is gone to by http, and a node with TLS is trusted by its certificate', () => {
  const node = nodeOf({
    proxy: { tls: { certFile: '/etc/damselfly/tls.crt', keyFile: '/etc/damselfly/tls.key' } },
    origins: [{ host: '*.lab', insecure: true }],
  });
  assert.equal(
    contentOf(planOf('containerd', { node, registries: ['hub.lab'] }), `${CERTS}/hub.lab/hosts.toml`),
    `# Made by "damselfly setup containerd"; "damselfly setup containerd --undo" takes it back.
server = "http://hub.lab"

[host."https://127.0.0.1:4001"]
  capabilities = ["pull", "resolve"]
  ca = "/etc/damselfly/tls.crt"
`,
  );
});

test('containerd without a configuration gets one before 2.2, and needs none from there on', () => {
  for (const version of [undefined, '1.6.20', '2.0.5'])
    assert.equal(
      contentOf(planOf('containerd', { version }), '/etc/containerd/config.toml'),
      `# Made by "damselfly setup containerd"; "damselfly setup containerd --undo" takes it back.
version = 2

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
`,
    );
  assert.equal(planOf('containerd', { version: '2.4.2' }).files.length, 1);
});

interface Backend {
  readonly device: { readonly backend: { readonly type: string; readonly config: Record<string, unknown> } };
}

test('8.30 nydusd: proxy from 2.3.5 on and when the version is not known, mirrors before', () => {
  const config = (version: string | undefined): Record<string, unknown> => {
    const plan = planOf('nydusd', { registries: [REGISTRY], version });
    return (JSON.parse(plan.files[0]?.content ?? '') as Backend).device.backend.config;
  };
  const proxy = {
    url: 'http://127.0.0.1:4001',
    ping_url: 'http://127.0.0.1:4001/healthy',
    fallback: true,
    check_interval: 5,
    use_http: true,
  };
  for (const version of [undefined, '2.3.5', '2.4.4', '3.0.0'])
    assert.deepEqual(config(version), {
      scheme: 'https',
      host: REGISTRY,
      repo: 'REPOSITORY',
      timeout: 5,
      connect_timeout: 5,
      retry_limit: 2,
      proxy,
    });
  const mirror = {
    host: 'http://127.0.0.1:4001',
    ping_url: 'http://127.0.0.1:4001/healthy',
    headers: { 'X-Dragonfly-Registry': 'https://registry.example.com' },
    health_check_interval: 5,
    failure_limit: 5,
  };
  assert.deepEqual(config('2.3.4').mirrors, [mirror]);
  assert.deepEqual(config('2.2.2').mirrors, [{ ...mirror, auth_through: true }]);
  assert.equal(config('2.3.4').proxy, undefined);
  const [warning = ''] = planOf('nydusd', { registries: [REGISTRY], version: '2.3.4' }).warnings;
  assert.match(warning, /2\.3\.5 on ignores mirrors/);
  assert.match(planOf('nydusd').notes.join(), /version of nydusd is not known/);
  assert.throws(() => planOf('nydusd', { registries: ['a', 'b'] }), UnsupportedRequest);
});

test('nydus-snapshotter: a template with the proxy form', () => {
  const plan = planOf('nydus-snapshotter', { registries: [REGISTRY] });
  assert.deepEqual(
    plan.files.map(({ path }) => path),
    ['/etc/nydus/nydusd-config.fusedev.json'],
  );
  const { config } = (JSON.parse(plan.files[0]?.content ?? '') as Backend).device.backend;
  assert.deepEqual(Object.keys(config).sort(), ['connect_timeout', 'proxy', 'retry_limit', 'timeout']);
  assert.equal(config.mirrors, undefined);
});

test('stargz names the registry in a header', () => {
  assert.equal(
    planOf('stargz', { registries: [REGISTRY] }).files[0]?.content,
    `# Made by "damselfly setup stargz"; "damselfly setup stargz --undo" takes it back.

[[resolver.host."registry.example.com".mirrors]]
  host = "127.0.0.1:4001"
  insecure = true
  [resolver.host."registry.example.com".mirrors.header]
    X-Dragonfly-Registry = "https://registry.example.com"
`,
  );
});

const LISTENERS = {
  proxy: {
    listeners: [
      { listen: '127.0.0.1:4011', origin: 'https://registry-1.docker.io' },
      { listen: '127.0.0.1:4012', origin: 'https://registry.example.com' },
    ],
  },
};

test('clients that name no registry get a listener for each, which the node is told of', () => {
  const registries = ['docker.io', REGISTRY];
  const soci = planOf('soci', { registries });
  assert.equal(
    soci.files[0]?.content,
    `# Made by "damselfly setup soci"; "damselfly setup soci --undo" takes it back.

[[resolver.host."docker.io".mirrors]]
  host = "127.0.0.1:4011"
  insecure = true

[[resolver.host."registry.example.com".mirrors]]
  host = "127.0.0.1:4012"
  insecure = true
`,
  );
  assert.deepEqual(parse(soci.damselfly ?? ''), LISTENERS);
  const podman = planOf('podman', { registries });
  assert.equal(
    podman.files[0]?.content,
    `# Made by "damselfly setup podman"; "damselfly setup podman --undo" takes it back.

[[registry]]
prefix = "docker.io"
location = "docker.io"

[[registry.mirror]]
location = "127.0.0.1:4011"
insecure = true

[[registry]]
prefix = "registry.example.com"
location = "registry.example.com"

[[registry.mirror]]
location = "127.0.0.1:4012"
insecure = true
`,
  );
  assert.deepEqual(parse(podman.damselfly ?? ''), LISTENERS);
  assert.equal(planOf('cri-o', { registries }).files[0]?.path.endsWith('50-damselfly-cri-o.conf'), true);
});

test('what is printed for the node is valid there, and once it is there nothing more is asked for', () => {
  for (const name of ['soci', 'podman', 'cri-o', 'docker', 'overlaybd'] as const) {
    const registries = name === 'docker' ? [] : ['docker.io'];
    const { damselfly } = planOf(name, { registries });
    const node = nodeOf(parse(damselfly ?? '') as Record<string, unknown>);
    const again = planOf(name, { registries, node });
    assert.equal(again.damselfly, undefined, name);
    assert.deepEqual(again.files, planOf(name, { registries }).files, name);
  }
  assert.ok(configSchema.safeParse(LISTENERS).success);
});

test('a default origin saves the listener', () => {
  const node = nodeOf({ proxy: { defaultOrigin: 'https://registry-1.docker.io' } });
  const plan = planOf('docker', { node });
  assert.equal(plan.damselfly, undefined);
  assert.deepEqual(JSON.parse(plan.files[0]?.content ?? ''), {
    'registry-mirrors': ['http://127.0.0.1:4001'],
  });
});

test('docker: docker.io only', () => {
  assert.equal(planOf('docker', { registries: ['docker.io'] }).files.length, 1);
  assert.throws(
    () => planOf('docker', { registries: ['quay.io'] }),
    (error) =>
      error instanceof UnsupportedRequest &&
      /docker\.io only.*quay\.io.*leave --registry out/s.test(error.message),
  );
});

test('buildkit says in the entry of the mirror that it is plain http', () => {
  assert.equal(
    planOf('buildkit', { registries: ['docker.io', REGISTRY] }).files[0]?.content,
    `# Made by "damselfly setup buildkit"; "damselfly setup buildkit --undo" takes it back.

[registry."docker.io"]
  mirrors = ["127.0.0.1:4001"]

[registry."registry.example.com"]
  mirrors = ["127.0.0.1:4001"]

[registry."127.0.0.1:4001"]
  http = true
`,
  );
});

test('overlaybd: the prefix address, and the rule for what registries redirect to', () => {
  const plan = planOf('overlaybd');
  assert.deepEqual(JSON.parse(plan.files[0]?.content ?? ''), {
    p2pConfig: { enable: true, address: 'http://127.0.0.1:4001/damselfly' },
  });
  const rules = nodeOf(parse(plan.damselfly ?? '') as Record<string, unknown>).rules;
  const hex = '0123456789abcdef'.repeat(4);
  const matches = (url: string): boolean => rules.some((rule) => new RegExp(rule).test(url));
  for (const url of [
    `https://bucket.s3.example.com/docker/registry/v2/blobs/sha256/01/${hex}/data`,
    `https://store.example.com/ghcr1/blobs/sha256:${hex}`,
  ])
    assert.ok(matches(url), url);
  for (const url of [`https://bucket.example.com/${hex}`, 'https://example.com/sha256/short'])
    assert.ok(!matches(url), url);
});

test('without --registry: the registries that the node knows of, else docker.io', () => {
  const node = nodeOf({
    proxy: { defaultOrigin: 'https://index.docker.io' },
    origins: [{ host: REGISTRY }, { host: '*.example.org' }],
  });
  const plan = planOf('buildkit', { node });
  assert.match(plan.files[0]?.content ?? '', /"docker\.io"[\s\S]*"registry\.example\.com"/);
  assert.doesNotMatch(plan.files[0]?.content ?? '', /example\.org/);
  assert.match(planOf('buildkit').notes.join(), /docker\.io/);
});

test('a node that speaks TLS, or has no TCP address', () => {
  const tls = nodeOf({ proxy: { tls: { certFile: '/c', keyFile: '/k' } } });
  for (const name of ['nydusd', 'nydus-snapshotter', 'overlaybd'] as const)
    assert.throws(() => planOf(name, { node: tls }), UnsupportedRequest, name);
  assert.match(planOf('buildkit', { node: tls }).files[0]?.content ?? '', /ca = \["\/c"\]/);
  assert.doesNotMatch(planOf('stargz', { node: tls }).files[0]?.content ?? '', /insecure/);
  assert.throws(() => nodeOf({ proxy: { listen: 'unix:/run/damselfly.sock' } }), UnsupportedRequest);
  const both = nodeOf({ proxy: { listen: ['unix:/run/damselfly.sock', '0.0.0.0:4001'] } });
  assert.equal(both.main.url, 'http://127.0.0.1:4001');
  assert.equal(nodeOf({}, '[::1]:5001').main.url, 'http://[::1]:5001');
});

test('registries as images name them', () => {
  assert.equal(registryName('registry-1.docker.io'), 'docker.io');
  assert.equal(registryName('Registry.Example.com:5000'), 'registry.example.com:5000');
  for (const text of ['https://quay.io', 'quay.io/app', '', '*.example.com', 'a b'])
    assert.throws(() => registryName(text), UnsupportedRequest, text);
});

test('the version that a program tells of itself', () => {
  const unknown =
    'nydusd Version: \tunknown\nBuild Time: \t2026-11-24T01:59:24.544886512Z\nRustc: \trustc 1.95.0 (59807616e)\n';
  assert.equal(versionIn(unknown), undefined);
  assert.equal(versionIn('Version: \tv2.4.4-1-g34e6071\nRustc: rustc 1.84.0'), '2.4.4');
  assert.equal(versionIn('containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1'), '1.6.20');
  assert.equal(versionIn('containerd github.com/containerd/containerd/v2 2.4.2+unknown '), '2.4.2');
});
