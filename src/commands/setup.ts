import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { tcpAddress } from '../../config/address.ts';
import type { ClientTarget, Plan } from '../../config/clients/client-target.ts';
import { type NodeView, nodeView } from '../../config/clients/node-view.ts';
import { registryName } from '../../config/clients/routes.ts';
import { TARGETS } from '../../config/clients/targets.ts';
import { UnsupportedRequest } from '../../config/clients/unsupported-request.ts';
import { REFUSED } from '../../config/field.ts';
import { loadConfig } from '../../config/load.ts';
import { programVersion } from '../doctor/host/program-version.ts';
import { UsageError } from './failure.ts';
import { configOption } from './node-address.ts';
import { repeatable } from './repeatable.ts';
import { applyPlan, stateOf } from './setup/apply.ts';
import { HostTree } from './setup/host-tree.ts';
import {
  contentsText,
  planDocument,
  remarksText,
  type ShownPlan,
  undoDocument,
  undoneText,
  writtenText,
} from './setup/report.ts';
import { undoSetup } from './setup/undo.ts';

interface SetupFlags {
  readonly config?: string;
  readonly node?: string;
  readonly registry?: readonly string[];
  readonly clientVersion?: string;
  readonly root: string;
  readonly write?: boolean;
  readonly undo?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

const TIMEOUT_MS = 5_000;

/** Other names under which people look for a client. */
const ALIASES: Readonly<Record<string, string>> = {
  buildah: 'podman',
  buildkitd: 'buildkit',
  crio: 'cri-o',
  dockerd: 'docker',
  skopeo: 'podman',
  'soci-snapshotter': 'soci',
  'stargz-snapshotter': 'stargz',
};

export function setupCommand(): Command {
  const names = TARGETS.map(({ name }) => name).join(', ');
  return new Command('setup')
    .summary("points an image client's configuration at the node, and back")
    .description(
      'Prints the configuration with which an image client pulls through the node; writes it, or takes it back. Whatever else is in the files stays.',
    )
    .argument('<target>', names)
    .addOption(
      repeatable(
        '--registry <host>',
        "a registry as images' names have it; any number of times (default: what suits the client; containerd: all)",
      ),
    )
    .addOption(new Option('--dry-run', 'only print (default)').conflicts(['write', 'undo']))
    .addOption(new Option('--write', 'write, and keep what was there for --undo').conflicts('undo'))
    .addOption(new Option('--undo', 'put everything back that --write ever wrote for this client'))
    .addOption(new Option('--force', 'with --undo: also files that were changed since, kept aside'))
    .option(
      '--client-version <version>',
      "the client's version (default: the installed one, else the newest)",
    )
    .option('--root <dir>', 'root folder of the host whose files these are', '/')
    .option('--json', 'print one JSON document')
    .addOption(configOption())
    .addOption(new Option('--node <host:port>', "the node's proxy address, in place of proxy.listen"))
    .addHelpText(
      'after',
      `
Examples:
  damselfly setup containerd --write
  damselfly setup containerd --registry registry.example.com
  damselfly setup nydusd --client-version 2.2.4
  damselfly setup podman --registry quay.io --write
  damselfly setup podman --undo`,
    )
    .action(run);
}

async function run(name: string, flags: SetupFlags): Promise<void> {
  const target = findTarget(name);
  const registries = (flags.registry ?? []).map((text) => usage(() => registryName(text)));
  const given = versionFlag(flags.clientVersion);
  if (flags.force === true && flags.undo !== true) throw new UsageError('--force belongs to --undo');
  const tree = new HostTree(rootFolder(flags.root));
  if (flags.undo === true) {
    const undone = undoSetup(tree, target.name, flags.force === true);
    if (flags.json === true) console.log(JSON.stringify(undoDocument(target.name, undone), undefined, 2));
    else process.stdout.write(undoneText(target.name, undone));
    return;
  }
  const node = findNodeView(flags);
  const clientVersion = given ?? (await installedVersion(target, tree));
  const plan = usage(() => target.plan({ node, files: tree, registries, clientVersion }));
  show(flags, described(target, node, plan, tree, flags));
}

function described(
  target: ClientTarget,
  node: NodeView,
  plan: Plan,
  tree: HostTree,
  flags: SetupFlags,
): ShownPlan {
  const states = new Map(plan.files.map((file) => [file.path, stateOf(tree, file)]));
  const written = flags.write === true ? applyPlan(tree, target.name, plan.files) : undefined;
  const mode = flags.write === true ? 'write' : 'dry-run';
  return { target: target.name, mode, node: node.main.url, plan, states, written };
}

function show(flags: SetupFlags, shown: ShownPlan): void {
  if (flags.json === true) {
    console.log(JSON.stringify(planDocument(shown), undefined, 2));
  } else if (shown.mode === 'write') {
    process.stdout.write(writtenText(shown));
  } else {
    process.stdout.write(contentsText(shown));
    process.stderr.write(remarksText(shown));
  }
}

function findTarget(name: string): ClientTarget {
  const wanted = ALIASES[name.toLowerCase()] ?? name.toLowerCase();
  const target = TARGETS.find((candidate) => candidate.name === wanted);
  if (target !== undefined) return target;
  throw new UsageError(
    `there is no client ${JSON.stringify(name)}; expected one of ${TARGETS.map((one) => one.name).join(', ')}`,
  );
}

function findNodeView(flags: SetupFlags): NodeView {
  const { config } = loadConfig({ file: flags.config, env: process.env });
  if (flags.node === undefined) return usage(() => nodeView(config));
  const main = tcpAddress(flags.node);
  if (main === REFUSED || main.port === 0) {
    throw new UsageError(
      `--node is ${JSON.stringify(flags.node)}; expected host:port such as 127.0.0.1:4001`,
    );
  }
  return usage(() => nodeView(config, main));
}

function versionFlag(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const version = /^v?(\d+\.\d+(?:\.\d+)?)(?:[-+~].*)?$/.exec(text)?.[1];
  if (version !== undefined) return version;
  throw new UsageError(`--client-version is ${JSON.stringify(text)}; expected a version such as 2.4.4`);
}

function rootFolder(text: string): string {
  const root = resolve(text);
  if (statSync(root, { throwIfNoEntry: false })?.isDirectory() === true) return root;
  throw new UsageError(`--root is ${JSON.stringify(text)}, which is no folder`);
}

/** A program below another root is not ours to run: the newest form is meant then. */
async function installedVersion(target: ClientTarget, tree: HostTree): Promise<string | undefined> {
  if (target.versionProgram === undefined || tree.root !== '/') return undefined;
  return await programVersion(target.versionProgram, AbortSignal.timeout(TIMEOUT_MS));
}

/** What the client or the node cannot do is a mistake of the command line. */
function usage<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof UnsupportedRequest) throw new UsageError(error.message);
    throw error;
  }
}
