import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { PlannedFile, TargetName } from '../../config/clients/client-target.ts';
import { TARGETS } from '../../config/clients/targets.ts';
import { applyPlan } from '../../src/commands/setup/apply.ts';
import { HostTree } from '../../src/commands/setup/host-tree.ts';
import { undoSetup } from '../../src/commands/setup/undo.ts';
import { hasCode } from '../../src/errors.ts';
import { fixture, HOST_WITH_ALL, nodeOf, targetOf } from '../config/clients/support.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { type CliResult, runCli } from './run-cli.ts';

const CONFIG = '/etc/containerd/config.toml';
const JSON_FILE = '/etc/docker/daemon.json';
const JOURNAL = '/etc/damselfly/setup/docker/journal.json';

async function hostWith(t: TestContext, files: Readonly<Record<string, string>>): Promise<HostTree> {
  const folder = await tempFolder(t);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder.path, path)), { recursive: true });
    writeFileSync(join(folder.path, path), content, { mode: 0o640 });
  }
  return new HostTree(folder.path);
}

/** Every file, link and folder, with mode, owner and bytes. */
function snapshot(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => {
      const at = join(root, name);
      const stat = lstatSync(at);
      const bytes = stat.isFile()
        ? createHash('sha256').update(readFileSync(at)).digest('hex').slice(0, 16)
        : stat.isSymbolicLink()
          ? readlinkSync(at)
          : '';
      return `${name} ${stat.mode.toString(8)} ${stat.uid}:${stat.gid} ${bytes}`;
    });
}

function planFor(
  tree: HostTree,
  name: TargetName,
  registries: readonly string[] = ['docker.io'],
): readonly PlannedFile[] {
  return targetOf(name).plan({ files: tree, node: nodeOf(), registries, clientVersion: undefined }).files;
}

function write(tree: HostTree, name: TargetName, registries?: readonly string[]): void {
  applyPlan(tree, name, planFor(tree, name, registries));
}

describe('write, then undo', () => {
  for (const { name } of TARGETS)
    for (const [what, files] of [
      ['a host that has every file', HOST_WITH_ALL],
      ['an empty host', {}],
    ] as const)
      test(`${name}: ${what} is byte-equal afterwards, however often each is done`, async (t) => {
        const tree = await hostWith(t, files);
        const before = snapshot(tree.root);
        for (let round = 0; round < 2; round++) {
          write(tree, name);
          const written = snapshot(tree.root);
          assert.notDeepEqual(written, before);
          write(tree, name);
          assert.deepEqual(snapshot(tree.root), written, 'a second write changes nothing');
          assert.ok(undoSetup(tree, name, false));
          assert.deepEqual(snapshot(tree.root), before);
          assert.equal(undoSetup(tree, name, false), undefined);
          assert.deepEqual(snapshot(tree.root), before);
        }
      });

  test('containerd 2.4, and several registries in several runs', async (t) => {
    const tree = await hostWith(t, { [CONFIG]: fixture('containerd-2.4.toml') });
    const before = snapshot(tree.root);
    write(tree, 'containerd', []);
    write(tree, 'containerd', ['docker.io', 'quay.io']);
    write(tree, 'containerd', ['registry.example.com:5000']);
    assert.match(tree.read(CONFIG) ?? '', /config_path = .*certs\.d/);
    undoSetup(tree, 'containerd', false);
    assert.deepEqual(snapshot(tree.root), before);
  });

  test('any bytes that are a JSON file', async (t) => {
    const tree = await hostWith(t, { [JSON_FILE]: '{}' });
    const spaces = fc.stringMatching(/^[ \t\r\n]{0,5}$/);
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue()),
        spaces,
        spaces,
        fc.nat(8),
        (value, head, tail, indent) => {
          const bytes = Buffer.from(head + JSON.stringify(value, undefined, indent) + tail);
          writeFileSync(join(tree.root, JSON_FILE), bytes);
          write(tree, 'docker');
          JSON.parse(tree.read(JSON_FILE) ?? '');
          undoSetup(tree, 'docker', false);
          assert.deepEqual(tree.bytes(JSON_FILE), bytes);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('clients beside each other', async (t) => {
    const tree = await hostWith(t, HOST_WITH_ALL);
    const before = snapshot(tree.root);
    for (const { name } of TARGETS) write(tree, name);
    for (const { name } of TARGETS) assert.ok(undoSetup(tree, name, false), name);
    assert.deepEqual(snapshot(tree.root), before);
  });

  test('mode and owner stay while it is written', async (t) => {
    const tree = await hostWith(t, { [JSON_FILE]: '{}' });
    chmodSync(join(tree.root, JSON_FILE), 0o604);
    const before = statSync(join(tree.root, JSON_FILE));
    write(tree, 'docker');
    const now = statSync(join(tree.root, JSON_FILE));
    assert.deepEqual([now.mode, now.uid, now.gid], [before.mode, before.uid, before.gid]);
  });

  test('copies are for the owner alone: configuration may hold logins', async (t) => {
    const tree = await hostWith(t, { [JSON_FILE]: '{}' });
    write(tree, 'docker');
    const folder = join(tree.root, dirname(JOURNAL));
    assert.equal(statSync(folder).mode & 0o077, 0);
    for (const name of readdirSync(folder)) assert.equal(statSync(join(folder, name)).mode & 0o077, 0, name);
  });
});

describe("a user's edit", () => {
  const edit = (tree: HostTree): void =>
    writeFileSync(join(tree.root, JSON_FILE), (tree.read(JSON_FILE) ?? '').replace('{', '{ "mine": 1,'));

  test('after the write: undo refuses, names both files and changes nothing', async (t) => {
    const tree = await hostWith(t, { [JSON_FILE]: '{"a": 1}' });
    write(tree, 'docker');
    edit(tree);
    const edited = snapshot(tree.root);
    assert.throws(
      () => undoSetup(tree, 'docker', false),
      (error) =>
        hasCode(error, 'client-config-changed') &&
        error.message.includes(JSON_FILE) &&
        error.message.includes('/etc/damselfly/setup/docker/etc__docker__daemon.json') &&
        error.message.includes('--force'),
    );
    assert.deepEqual(snapshot(tree.root), edited);
  });

  test('with --force it is kept beside', async (t) => {
    const tree = await hostWith(t, { [JSON_FILE]: '{"a": 1}' });
    for (const saved of [`${JSON_FILE}.before-undo`, `${JSON_FILE}.before-undo-2`]) {
      write(tree, 'docker');
      edit(tree);
      const mine = tree.read(JSON_FILE);
      assert.deepEqual(undoSetup(tree, 'docker', true), [{ path: JSON_FILE, state: 'restored', saved }]);
      assert.equal(tree.read(JSON_FILE), '{"a": 1}');
      assert.equal(tree.read(saved), mine);
    }
  });

  test('that a second write took over is not lost by undo either', async (t) => {
    const tree = await hostWith(t, { [JSON_FILE]: '{"a": 1}' });
    write(tree, 'docker');
    writeFileSync(join(tree.root, JSON_FILE), '{"mine": 1}');
    write(tree, 'docker');
    assert.match(tree.read(JSON_FILE) ?? '', /mine[\s\S]*4011/);
    assert.throws(
      () => undoSetup(tree, 'docker', false),
      (error) => hasCode(error, 'client-config-changed'),
    );
  });

  test('a file that setup made and the user removed, or mended back, needs no undo', async (t) => {
    const made = await hostWith(t, {});
    const before = snapshot(made.root);
    write(made, 'docker');
    renameSync(join(made.root, JSON_FILE), join(made.root, '/gone'));
    assert.deepEqual(
      undoSetup(made, 'docker', false)?.map(({ state }) => state),
      ['unchanged'],
    );
    assert.deepEqual(
      snapshot(made.root).filter((line) => !line.startsWith('gone')),
      before,
    );
    const mended = await hostWith(t, { [JSON_FILE]: '{"a": 1}' });
    write(mended, 'docker');
    writeFileSync(join(mended.root, JSON_FILE), '{"a": 1}');
    assert.deepEqual(
      undoSetup(mended, 'docker', false)?.map(({ state }) => state),
      ['unchanged'],
    );
  });

  test('what the user put into a folder that setup made stays', async (t) => {
    const tree = await hostWith(t, {});
    write(tree, 'docker');
    writeFileSync(join(tree.root, '/etc/docker/key.json'), 'k');
    undoSetup(tree, 'docker', false);
    assert.deepEqual(tree.list('/etc/docker'), ['key.json']);
  });
});

describe('crashes and refusals', () => {
  test('killed between the copies and the file: undo finds everything as it was', async (t) => {
    const tree = await hostWith(t, { [JSON_FILE]: '{"a": 1}' });
    const before = snapshot(tree.root);
    write(tree, 'docker');
    // What is on the disk then: copies and record, and the file untouched.
    writeFileSync(join(tree.root, JSON_FILE), '{"a": 1}');
    assert.ok(undoSetup(tree, 'docker', false));
    assert.deepEqual(snapshot(tree.root), before);
  });

  test('killed in a second write: the text of the first is no edit of the user', async (t) => {
    const tree = await hostWith(t, {});
    const before = snapshot(tree.root);
    write(tree, 'podman', ['quay.io']);
    const first = tree.read('/etc/containers/registries.conf.d/50-damselfly.conf') ?? '';
    write(tree, 'podman', ['docker.io']);
    writeFileSync(join(tree.root, '/etc/containers/registries.conf.d/50-damselfly.conf'), first);
    undoSetup(tree, 'podman', false);
    assert.deepEqual(snapshot(tree.root), before);
  });

  test('killed in the middle of undo: the next one goes on', async (t) => {
    const tree = await hostWith(t, { [CONFIG]: fixture('containerd-1.6.toml') });
    const before = snapshot(tree.root);
    write(tree, 'containerd', ['docker.io', 'quay.io']);
    writeFileSync(join(tree.root, CONFIG), fixture('containerd-1.6.toml'));
    undoSetup(tree, 'containerd', false);
    assert.deepEqual(snapshot(tree.root), before);
  });

  test('one of several files that cannot be written: all are as they were', async (t) => {
    const tree = await hostWith(t, { [CONFIG]: fixture('containerd-1.6.toml') });
    const before = snapshot(tree.root);
    const files = planFor(tree, 'containerd', ['docker.io']);
    // A file where a folder is to be: refused by the system for root as well.
    const impossible = { path: `${CONFIG}/under/it`, content: 'x' };
    assert.throws(
      () => applyPlan(tree, 'containerd', [...files, impossible]),
      (error) => hasCode(error, 'client-config-unusable'),
    );
    assert.deepEqual(snapshot(tree.root), before);
    write(tree, 'containerd', ['docker.io']);
    const written = snapshot(tree.root);
    const more = planFor(tree, 'containerd', ['quay.io']);
    assert.throws(() => applyPlan(tree, 'containerd', [...more, impossible]));
    assert.deepEqual(snapshot(tree.root), written);
    undoSetup(tree, 'containerd', false);
    assert.deepEqual(snapshot(tree.root), before);
  });

  test('a record that cannot be read stops it', async (t) => {
    const tree = await hostWith(t, { [JSON_FILE]: '{}', [JOURNAL]: '{"format": 2}' });
    for (const act of [() => write(tree, 'docker'), () => undoSetup(tree, 'docker', true)])
      assert.throws(
        act,
        (error) => hasCode(error, 'client-config-unusable') && error.message.includes(JOURNAL),
      );
    assert.equal(tree.read(JSON_FILE), '{}');
  });
});

describe('symbolic links', () => {
  test('a link stays, and the file behind it is written, wherever it leads to in that root', async (t) => {
    const tree = await hostWith(t, { '/opt/shared/daemon.json': '{"a": 1}' });
    mkdirSync(join(tree.root, '/etc'), { recursive: true });
    symlinkSync('/opt/shared', join(tree.root, '/etc/docker'));
    const before = snapshot(tree.root);
    write(tree, 'docker');
    assert.match(readFileSync(join(tree.root, '/opt/shared/daemon.json'), 'utf8'), /4011/);
    assert.ok(lstatSync(join(tree.root, '/etc/docker')).isSymbolicLink());
    undoSetup(tree, 'docker', false);
    assert.deepEqual(snapshot(tree.root), before);
  });

  test('none leads out of the root', async (t) => {
    const outside = await tempFolder(t);
    const tree = await hostWith(t, {});
    mkdirSync(join(tree.root, '/etc'), { recursive: true });
    symlinkSync(outside.path, join(tree.root, '/etc/docker'));
    symlinkSync(`../../../../../../..${outside.path}`, join(tree.root, '/etc/buildkit'));
    assert.equal(tree.locate(JSON_FILE), join(tree.root, outside.path, 'daemon.json'));
    assert.equal(tree.locate('/etc/buildkit/x'), join(tree.root, outside.path, 'x'));
    const before = snapshot(tree.root);
    assert.throws(
      () => write(tree, 'docker'),
      (error) => hasCode(error, 'client-config-unusable'),
    );
    assert.deepEqual(readdirSync(outside.path), []);
    assert.deepEqual(snapshot(tree.root), before);
  });

  test('one that leads to nothing, and a loop, are refused', async (t) => {
    const tree = await hostWith(t, { '/etc/docker/other': '' });
    symlinkSync('gone.json', join(tree.root, JSON_FILE));
    mkdirSync(join(tree.root, '/etc/buildkit'));
    symlinkSync('buildkitd.toml', join(tree.root, '/etc/buildkit/buildkitd.toml'));
    const before = snapshot(tree.root);
    for (const name of ['docker', 'buildkit'] as const)
      assert.throws(
        () => write(tree, name),
        (error) => hasCode(error, 'client-config-unusable') && /symbolic link/.test(error.message),
      );
    assert.deepEqual(snapshot(tree.root), before);
  });
});

test('what is no text file is told and left alone', async (t) => {
  const tree = await hostWith(t, {});
  mkdirSync(join(tree.root, JSON_FILE), { recursive: true });
  assert.throws(() => write(tree, 'docker'), /is no regular file/);
  mkdirSync(join(tree.root, '/etc/buildkit'), { recursive: true });
  writeFileSync(join(tree.root, '/etc/buildkit/buildkitd.toml'), Buffer.from([0xff, 0xfe]));
  assert.throws(() => write(tree, 'buildkit'), /no text in UTF-8/);
});

describe('the command', () => {
  const setup = async (root: string, ...args: string[]): Promise<CliResult> =>
    await runCli(['setup', ...args, '--root', root]);

  test('a dry run prints the contents of the file and nothing else, and writes nothing', async (t) => {
    const tree = await hostWith(t, HOST_WITH_ALL);
    const before = snapshot(tree.root);
    const result = await setup(tree.root, 'docker');
    assert.equal(result.code, 0);
    assert.equal(result.stdout, planFor(tree, 'docker', [])[0]?.content);
    assert.match(
      result.stderr,
      /127\.0\.0\.1:4001[\s\S]*daemon\.json[\s\S]*listen: 127\.0\.0\.1:4011[\s\S]*--write/,
    );
    const explicit = await setup(
      tree.root,
      'containerd',
      '--dry-run',
      '--registry',
      'a.example',
      '--registry',
      'b.example',
    );
    assert.equal(explicit.code, 0);
    assert.match(
      explicit.stdout,
      /^# ==> .*a\.example\/hosts\.toml <==[\s\S]*\n# ==> .*b\.example\/hosts\.toml <==/,
    );
    assert.doesNotMatch(explicit.stdout, /io\.containerd/);
    assert.match(explicit.stderr, /config\.toml {2}sets config_path/);
    assert.deepEqual(snapshot(tree.root), before);
  });

  test('write, json, undo', async (t) => {
    const tree = await hostWith(t, HOST_WITH_ALL);
    const before = snapshot(tree.root);
    const dry = (await setup(tree.root, 'buildkit', '--json')).json();
    assert.deepEqual(
      [dry.target, dry.mode, dry.node, dry.damselfly],
      ['buildkit', 'dry-run', 'http://127.0.0.1:4001', null],
    );
    const written = await setup(tree.root, 'buildkit', '--write');
    assert.equal(written.code, 0);
    assert.match(
      written.stdout,
      /buildkitd\.toml {2}changed \(as it was: \/etc\/damselfly\/setup\/buildkit\//,
    );
    const again = (await setup(tree.root, 'buildkit', '--write', '--json')).json();
    assert.deepEqual(
      (again.files as { state: string }[]).map(({ state }) => state),
      ['unchanged'],
    );
    const undone = await setup(tree.root, 'buildkit', '--undo');
    assert.equal(undone.code, 0);
    assert.match(undone.stdout, /as it was before/);
    assert.deepEqual(snapshot(tree.root), before);
    const twice = await setup(tree.root, 'buildkit', '--undo', '--json');
    assert.deepEqual([twice.code, twice.json().files], [0, []]);
  });

  test('the address is that of the configuration, or of --node; undo needs neither', async (t) => {
    const tree = await hostWith(t, {});
    const file = join(tree.root, 'damselfly.yaml');
    writeFileSync(file, 'proxy: {listen: "0.0.0.0:5001"}\n');
    const own = await setup(tree.root, 'overlaybd', '-c', file);
    assert.match(own.stdout, /http:\/\/127\.0\.0\.1:5001\/damselfly/);
    const named = await setup(tree.root, 'overlaybd', '-c', file, '--node', '10.0.0.5:4001');
    assert.match(named.stdout, /http:\/\/10\.0\.0\.5:4001\/damselfly/);
    writeFileSync(file, 'proxy: {listen: "unix:/run/d.sock"}\n');
    const unix = await setup(tree.root, 'overlaybd', '-c', file);
    assert.equal(unix.code, 2);
    assert.match(unix.stderr, /no TCP address[\s\S]*127\.0\.0\.1:4001/);
    writeFileSync(file, 'nonsense: 1\n');
    assert.equal((await setup(tree.root, 'overlaybd', '-c', file, '--undo')).code, 0);
  });

  const wrong: readonly [string, string[], RegExp][] = [
    ['an unknown client', ['crane'], /no client "crane".*containerd, nydus-snapshotter/],
    ['no client', [], /missing required argument/],
    ['a URL for a registry', ['podman', '--registry', 'https://quay.io'], /without scheme and path/],
    ['another registry than docker.io for docker', ['docker', '--registry', 'quay.io'], /docker\.io only/],
    [
      'a version that is none',
      ['nydusd', '--client-version', 'newest'],
      /expected a version such as 2\.4\.4/,
    ],
    ['write and undo', ['docker', '--write', '--undo'], /cannot be used with/],
    ['force without undo', ['docker', '--write', '--force'], /--force belongs to --undo/],
    ['a node that is no address', ['docker', '--node', 'here'], /expected host:port/],
  ];
  for (const [what, args, message] of wrong)
    test(`${what} is bad usage`, async (t) => {
      const tree = await hostWith(t, {});
      const result = await setup(tree.root, ...args);
      assert.equal(result.code, 2, result.stderr);
      assert.match(result.stderr, message);
      assert.equal(result.stdout, '');
      assert.ok(!existsSync(join(tree.root, 'etc')));
    });

  test('a root that is none, a broken file and an edit are told by their code', async (t) => {
    const tree = await hostWith(t, { [JSON_FILE]: '{ broken' });
    assert.equal((await setup(join(tree.root, 'nowhere'), 'docker')).code, 2);
    const broken = await setup(tree.root, 'docker', '--json');
    assert.equal(broken.code, 1);
    assert.equal((broken.json().error as { code: string }).code, 'client-config-unusable');
    writeFileSync(join(tree.root, JSON_FILE), '{}');
    await setup(tree.root, 'docker', '--write');
    writeFileSync(join(tree.root, JSON_FILE), '{"mine": 1}');
    const edited = await setup(tree.root, 'docker', '--undo');
    assert.equal(edited.code, 1);
    assert.match(edited.stderr, /\[client-config-changed\]/);
    const forced = await setup(tree.root, 'docker', '--undo', '--force');
    assert.match(forced.stdout, /your change: \/etc\/docker\/daemon\.json\.before-undo/);
  });

  test('aliases, and the form for a version', async (t) => {
    const tree = await hostWith(t, {});
    assert.match((await setup(tree.root, 'skopeo')).stderr, /For podman/);
    const old = await setup(tree.root, 'nydusd', '--client-version', 'v2.2.2', '--registry', 'quay.io');
    assert.match(old.stdout, /"mirrors"[\s\S]*"auth_through": true/);
    assert.match(old.stderr, /warning: nydusd from 2\.3\.5 on ignores mirrors/);
  });
});
