import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { TargetName } from '../../../config/clients/client-target.ts';
import { parseJson, setJson } from '../../../config/clients/json-edit.ts';
import { changeToml, parseToml, setTomlKey, tableAt } from '../../../config/clients/toml-edit.ts';
import { hasCode } from '../../../src/errors.ts';
import { after, contentOf, fixture, HOST_WITH_ALL, nodeOf, planOf } from './support.ts';

const HOSTS = '/etc/containerd/certs.d/registry.example.com/hosts.toml';
const CONFIG = '/etc/containerd/config.toml';
const IMAGES_2 = ['plugins', 'io.containerd.grpc.v1.cri', 'registry'];
const IMAGES_3 = ['plugins', 'io.containerd.cri.v1.images', 'registry'];

/** The lines of one text that the other has not, in order. */
function gone(before: string, now: string): string[] {
  const rest = now.split('\n');
  return before.split('\n').filter((line) => {
    const at = rest.indexOf(line);
    if (at >= 0) rest.splice(0, at + 1);
    return at < 0;
  });
}

describe('what is in a file stays', () => {
  test('hosts.toml: the node comes in front of the hosts that are there, comments included', () => {
    const plan = planOf('containerd', { files: HOST_WITH_ALL, registries: ['registry.example.com'] });
    assert.equal(
      contentOf(plan, HOSTS),
      `# Ours
server = "https://registry.example.com"
ca = "/etc/ssl/office.pem"

[host."http://127.0.0.1:4001"]
  capabilities = ["pull", "resolve"]

# the office's cache
[host."https://cache.example.com"]
  capabilities = ["pull", "resolve"] # no pushes
  [host."https://cache.example.com".header]
    x-team = ["a", "b"]
`,
    );
  });

  test('hosts.toml: line ends of their own stay, and a capability that lacks is added', () => {
    const text = fixture('hosts-crlf.toml');
    const edited = contentOf(
      planOf('containerd', { files: { [HOSTS]: text }, registries: ['registry.example.com'] }),
      HOSTS,
    );
    assert.doesNotMatch(edited, /[^\r]\n/);
    assert.ok(edited.endsWith('[host."https://cache.example.com"]\r\n  capabilities = ["pull"]\r\n'));
    const lacking = '[host."http://127.0.0.1:4001"]\n  capabilities = ["pull"] # why\n';
    const mended = contentOf(
      planOf('containerd', { files: { [HOSTS]: lacking }, registries: ['registry.example.com'] }),
      HOSTS,
    );
    assert.match(mended, /capabilities = \["pull", "resolve"\].*# why/);
  });

  for (const [name, table] of [
    ['containerd-1.6.toml', IMAGES_2],
    ['containerd-2.4.toml', IMAGES_3],
  ] as const)
    test(`config.toml: one line of ${name}`, () => {
      const text = fixture(name);
      const edited = contentOf(planOf('containerd', { files: { [CONFIG]: text } }), CONFIG);
      assert.ok(gone(text, edited).length <= 1, gone(text, edited).join('\n'));
      assert.equal(tableAt(parseToml(CONFIG, edited), table)?.config_path, '/etc/containerd/certs.d');
      assert.equal(
        contentOf(
          planOf('containerd', { files: { [CONFIG]: edited } }),
          '/etc/containerd/certs.d/_default/hosts.toml',
        ).length > 0,
        true,
      );
    });

  test('config.toml: a file without the table gets it, and one of version 1 in its own place', () => {
    const two =
      'version = 2\n\n[plugins]\n  [plugins."io.containerd.grpc.v1.cri".cni]\n    bin_dir = "/x" # here\n';
    const edited = contentOf(planOf('containerd', { files: { [CONFIG]: two } }), CONFIG);
    assert.ok(edited.startsWith(two));
    assert.equal(tableAt(parseToml(CONFIG, edited), IMAGES_2)?.config_path, '/etc/containerd/certs.d');
    const one = contentOf(planOf('containerd', { files: { [CONFIG]: 'root = "/r"\n' } }), CONFIG);
    assert.equal(
      tableAt(parseToml(CONFIG, one), ['plugins', 'cri', 'registry'])?.config_path,
      '/etc/containerd/certs.d',
    );
  });

  test('config.toml: a folder that is set is used and the file left alone, also when an import sets it', () => {
    const set =
      'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/opt/certs:/etc/docker/certs.d"\n';
    const hosts: Record<string, string>[] = [
      { [CONFIG]: set },
      {
        [CONFIG]: 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n',
        '/etc/containerd/conf.d/a.toml': set,
        '/etc/containerd/conf.d/a.toml.old': '[ no TOML',
      },
    ];
    for (const files of hosts) {
      const plan = planOf('containerd', { files });
      assert.deepEqual(
        plan.files.map(({ path }) => path),
        ['/opt/certs/_default/hosts.toml'],
      );
    }
  });

  test('config.toml: mirrors of the old form are not broken by a config_path beside them', () => {
    const old =
      'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["https://m"]\n';
    assert.throws(
      () => planOf('containerd', { files: { [CONFIG]: old } }),
      (error) => hasCode(error, 'client-config-unusable') && /registry\.mirrors/.test(error.message),
    );
    const off = 'disabled_plugins = ["cri"]\n';
    assert.equal(planOf('containerd', { files: { [CONFIG]: off } }).files.length, 1);
  });

  test('containerd: a registry whose file is not asked about is told of, and its folder name is used', () => {
    const plan = planOf('containerd', { files: HOST_WITH_ALL });
    assert.match(plan.warnings.join(), /registry\.example\.com\/hosts\.toml/);
    const folder = '/etc/containerd/certs.d/10.0.0.5_5000_/hosts.toml';
    const named = planOf('containerd', { files: { [folder]: '' }, registries: ['10.0.0.5:5000'] });
    assert.equal(named.files[0]?.path, folder);
  });

  test('nydus-snapshotter: the template that its configuration names', () => {
    const path = '/etc/nydus/nydusd-config.fusedev.json';
    const edited = contentOf(planOf('nydus-snapshotter', { files: HOST_WITH_ALL }), path);
    assert.match(edited, /"enable": true, {3}"threads_count": 8/);
    assert.match(edited, /"work_dir": "\/var\/cache\/nydus"/);
    const root = parseJson(path, edited) as {
      device: { backend: { config: { proxy: { fallback: boolean } } } };
    };
    assert.equal(root.device.backend.config.proxy.fallback, true);
  });

  test('nydusd: mirrors make room for proxy and back, with a warning', () => {
    const path = '/etc/nydus/nydusd-config.json';
    const plan = planOf('nydusd', { files: HOST_WITH_ALL, version: '2.4.4' });
    const edited = contentOf(plan, path);
    assert.match(plan.warnings.join(), /mirrors, which nydusd ignores from 2\.3\.5/);
    assert.doesNotMatch(edited, /mirrors/);
    assert.match(edited, /\n\t\t\t\t"repo": "app",/);
    const back = planOf('nydusd', { files: { [path]: edited }, version: '2.3.0' });
    assert.doesNotMatch(contentOf(back, path), /"proxy"/);
    assert.match(contentOf(back, path), /"X-Dragonfly-Registry": "https:\/\/registry\.example\.com"/);
    const kept = contentOf(planOf('nydusd', { files: HOST_WITH_ALL, version: '2.3.0' }), path);
    assert.match(kept, /127\.0\.0\.1:4001[\s\S]*127\.0\.0\.1:65001/);
  });

  test('nydusd: fallback that is missing is set, one that is off stays off and is told; a login is not shown', () => {
    const path = '/etc/nydus/nydusd-config.json';
    const config = (proxy: unknown): string =>
      JSON.stringify({ device: { backend: { type: 'registry', config: { proxy } } } });
    const missing = planOf('nydusd', { files: { [path]: config({ url: 'http://user:secret@other:3128' }) } });
    assert.match(contentOf(missing, path), /"fallback": true/);
    assert.match(missing.warnings.join(), /proxy\.fallback is missing/);
    assert.match(missing.warnings.join(), /the proxy was http:\/\/other:3128/);
    assert.doesNotMatch(missing.warnings.join(), /secret/);
    const off = planOf('nydusd', {
      files: { [path]: config({ url: 'http://127.0.0.1:4001', fallback: false, check_interval: 1 }) },
    });
    assert.match(contentOf(off, path), /"fallback":\s*false/);
    assert.match(contentOf(off, path), /"check_interval":\s*1/);
    assert.match(off.warnings.join(), /proxy\.fallback is false/);
    assert.throws(
      () => planOf('nydusd', { files: { [path]: '{"device":{"backend":{"type":"localfs"}}}' } }),
      (error) => hasCode(error, 'client-config-unusable'),
    );
  });

  test('stargz: the node comes in front of the mirrors of its registry', () => {
    const path = '/etc/containerd-stargz-grpc/config.toml';
    const edited = contentOf(
      planOf('stargz', { files: HOST_WITH_ALL, registries: ['docker.io', 'quay.io'] }),
      path,
    );
    assert.deepEqual(gone(fixture('stargz.toml'), edited), []);
    const hosts = tableAt(parseToml(path, edited), ['resolver', 'host']) as Record<
      string,
      { mirrors: { host: string }[] }
    >;
    assert.deepEqual(
      hosts['docker.io']?.mirrors.map(({ host }) => host),
      ['127.0.0.1:4001', 'mirror.example.com', 'mirror2.example.com'],
    );
    assert.deepEqual(
      hosts['quay.io']?.mirrors.map(({ host }) => host),
      ['127.0.0.1:4001'],
    );
  });

  test('soci, docker, buildkit, overlaybd, podman', () => {
    const soci = '/etc/soci-snapshotter-grpc/config.toml';
    assert.deepEqual(
      gone(fixture('soci.toml'), contentOf(planOf('soci', { files: HOST_WITH_ALL }), soci)),
      [],
    );
    const docker = contentOf(planOf('docker', { files: HOST_WITH_ALL }), '/etc/docker/daemon.json');
    assert.match(docker, /"log-opts": \{"max-size": "10m", "max-file": "3"\}/);
    assert.deepEqual((JSON.parse(docker) as Record<string, unknown>)['registry-mirrors'], [
      'http://127.0.0.1:4011',
      'https://mirror.example.com',
    ]);
    const buildkit = '/etc/buildkit/buildkitd.toml';
    const edited = contentOf(planOf('buildkit', { files: HOST_WITH_ALL }), buildkit);
    assert.ok(gone(fixture('buildkitd.toml'), edited).length <= 1);
    assert.match(
      edited,
      /mirrors = \[\s*"127\.0\.0\.1:4001", "mirror\.example\.com\/hub", "core\.harbor\.domain\/proxy\.docker\.io"\s*\] # in this order/,
    );
    const overlaybd = contentOf(
      planOf('overlaybd', { files: HOST_WITH_ALL }),
      '/etc/overlaybd/overlaybd.json',
    );
    assert.equal(gone(fixture('overlaybd.json.txt'), overlaybd).length, 2);
    const podman = planOf('podman', { files: HOST_WITH_ALL, registries: ['registry.example.com'] });
    assert.match(podman.warnings.join(), /registries\.conf has an entry for registry\.example\.com as well/);
    const path = podman.files[0]?.path ?? '';
    const more = planOf('podman', {
      files: { [path]: `${contentOf(podman, path)}# mine\n` },
      registries: ['quay.io'],
    });
    assert.ok(contentOf(more, path).startsWith(contentOf(podman, path)));
    assert.match(contentOf(more, path), /# mine\n[\s\S]*prefix = "quay\.io"/);
  });
});

const ALL: readonly TargetName[] = [
  'containerd',
  'nydus-snapshotter',
  'nydusd',
  'stargz',
  'soci',
  'podman',
  'cri-o',
  'docker',
  'buildkit',
  'overlaybd',
];

test('what is planned for the result is the result', () => {
  for (const name of ALL)
    for (const files of [{}, HOST_WITH_ALL]) {
      const host = { files, registries: ['docker.io'], version: name === 'nydusd' ? '2.3.0' : undefined };
      const once = planOf(name, host);
      const twice = planOf(name, { ...host, files: after(once, files) });
      for (const { content, path } of twice.files)
        assert.equal(content, after(once, files)[path], `${name} ${path}`);
    }
});

test('a port that changed is taken over and not added', () => {
  const elsewhere = nodeOf({}, '127.0.0.1:5001');
  const files = after(planOf('podman', { registries: ['quay.io'] }));
  const moved = planOf('podman', { files, node: elsewhere, registries: ['quay.io'] }).files[0]?.content ?? '';
  assert.match(moved, /location = "127\.0\.0\.1:5011"/);
  assert.doesNotMatch(moved, /4011/);
});

test('broken files are told with their name, and nothing is planned over them', () => {
  for (const [name, path] of [
    ['containerd', CONFIG],
    ['nydusd', '/etc/nydus/nydusd-config.json'],
    ['stargz', '/etc/containerd-stargz-grpc/config.toml'],
    ['docker', '/etc/docker/daemon.json'],
  ] as const)
    assert.throws(
      () => planOf(name, { files: { [path]: '{ broken = ' } }),
      (error) => hasCode(error, 'client-config-unusable') && error.message.includes(path),
      name,
    );
});

test('TOML: an edit that would change more than the line that is meant is refused, and told by hand', () => {
  assert.throws(
    () =>
      changeToml('/t', 'a = 1\nb = 2\n', 'a = 3', (root) => {
        Object.assign(root, { a: 3, b: 3 });
      }),
    (error) => hasCode(error, 'client-config-unusable') && /by hand:\na = 3/.test(error.message),
  );
});

test('TOML: whatever is set is there afterwards, and everything else as well', () => {
  const key = fc.stringMatching(/^[a-z][a-z0-9.:-]{0,8}$/);
  const value = fc.oneof(
    fc.boolean(),
    fc.integer({ min: 0, max: 1e6 }),
    fc.string({ maxLength: 8, unit: 'grapheme-ascii' }),
  );
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(key, value), { minLength: 1, maxLength: 5, selector: ([name]) => name }),
      fc.array(key, { minLength: 1, maxLength: 3 }),
      key,
      fc.oneof(value, fc.array(fc.string({ maxLength: 5, unit: 'grapheme-ascii' }), { maxLength: 3 })),
      (values, table, name, wanted) => {
        const lines = values.map(
          ([own, it]) =>
            `"${own}" = ${typeof it === 'string' ? JSON.stringify(it).replaceAll('\u007f', '\\u007f') : it} # of ${own}`,
        );
        const text = `# top\n["base-table"]\n${lines.join('\n')}\n`;
        const path = ['base-table', ...table];
        fc.pre(!values.some(([own]) => own === table[0]));
        const edited = setTomlKey('/t', text, path, name, wanted);
        assert.deepEqual(tableAt(parseToml('/t', edited), path)?.[name], wanted);
        assert.deepEqual(gone(text, edited), []);
      },
    ),
    { numRuns: 200 },
  );
});

test('JSON: whatever is set is there afterwards, and every line that was', () => {
  const keys = fc.array(fc.stringMatching(/^[a-c]{1,2}$/), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 3 }), keys, fc.jsonValue({ maxDepth: 1 }), (own, path, wanted) => {
      const before = { own, 'a b': { c: own } };
      for (const text of [JSON.stringify(before), JSON.stringify(before, undefined, 3), '{ }']) {
        const edited = setJson('/j', text, path, wanted);
        let expected: unknown = JSON.parse(edited);
        for (const key of path) expected = (expected as Record<string, unknown>)[key];
        assert.deepEqual(expected, JSON.parse(JSON.stringify(wanted)));
        const { [path[0] ?? '']: _, ...rest } = JSON.parse(edited) as Record<string, unknown>;
        assert.deepEqual(rest, JSON.parse(text));
        assert.equal(setJson('/j', edited, path, wanted), edited);
      }
    }),
  );
});

test('JSON: indentation and what is compact stay as they are', () => {
  const text = '{\n\t"a": {"b":1},\n\t"c": [1,2]\n}';
  assert.equal(
    setJson('/j', text, ['d'], ['x']).startsWith('{\n\t"a": {"b":1},\n\t"c": [1,2],\n\t"d": ['),
    true,
  );
  assert.equal(setJson('/j', text, ['a', 'b'], 1), text);
  assert.equal(setJson('/j', '', ['a'], 1), '{\n  "a": 1\n}\n');
});
