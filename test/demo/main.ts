import { open } from 'node:fs/promises';
import { relative } from 'node:path';
import { parseArgs } from 'node:util';
import { formatBytes, formatRate } from '../../src/commands/quantity.ts';
import { keepAlive } from '../support/http-get.ts';
import { TempFolder } from '../support/temp-folder.ts';
import { ImageClient } from './client.ts';
import { Cluster } from './cluster.ts';
import { printAddresses } from './keep.ts';
import { lazyPlan } from './lazy-plan.ts';
import type { NodeProcess } from './node-process.ts';
import {
  ACCOUNT,
  ORIGIN_BYTES_PER_SECOND,
  ORIGIN_ROUND_TRIP_MS,
  REPOSITORIES,
  type Scene,
  setScene,
} from './scene.ts';
import { runSteps, type Step } from './steps.ts';
import { whoServedWhom } from './who-served.ts';

const USAGE = `npm run demo [-- --keep]

Makes images from real files, serves them from an embedded registry with logins and a slow line, starts four nodes
in front of it that exchange pieces, pulls and reads through them, cold and warm, and shows who served whom. Needs no
network and no root.
  --keep  leaves registry and nodes running, with their addresses, until Ctrl-C`;

const LAZY_SHARE = 0.2;
const NODES = 4;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let values: { keep?: boolean; help?: boolean };
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: { keep: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    }));
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort(new Error('stopped')));
  try {
    await demo(values.keep ?? false, stop.signal);
    return 0;
  } catch (error) {
    if (stop.signal.aborted) return 130;
    console.error(`\nThe demo failed: ${(error as Error).message}`);
    return 1;
  }
}

async function demo(keep: boolean, signal: AbortSignal): Promise<void> {
  await using folder = await TempFolder.make();
  console.log('Damselfly demo. Everything stays on this machine; it takes some 15 seconds.\n');
  const scene = await setScene(folder.path, signal);
  await using _origin = scene.origin;
  const cluster = await Cluster.start({
    folder: folder.file('nodes'),
    registryHost: scene.origin.host,
    count: NODES,
    signal,
  });
  const pool = keepAlive();
  try {
    const { nodes } = cluster;
    introduce(scene, nodes);
    const failures = await runSteps(await steps(scene, nodes, pool, signal), scene.origin, nodes, signal);
    console.log('\n  Who served whom:\n');
    const documents = await Promise.all(nodes.map((node) => node.status(signal)));
    for (const line of whoServedWhom(documents)) console.log(`  ${line}`);
    console.log('');
    if (failures.length > 0) throw new Error(failures.join('; '));
    console.log(
      'Every byte was compared with its digest or its source: the registry sent each blob about once, the nodes gave\n' +
        'it to each other, and everything after that came from their caches, also while the registry was down.',
    );
    if (keep) await printAddresses(scene, nodes, signal);
  } finally {
    pool.destroy();
    await cluster.stop();
  }
}

function introduce(
  { source, tree, image, lazy, isRafs, origin }: Scene,
  nodes: readonly NodeProcess[],
): void {
  const facts = [
    ['files', `${tree.files} from ${relative(process.cwd(), source)}/, ${formatBytes(tree.bytes)}`],
    ['image', `OCI, ${image.manifests[0].layers.length} layers, ${formatBytes(image.blobBytes)} compressed`],
    [
      'lazy image',
      `${isRafs ? 'RAFS v6 (made by nydus-image)' : 'one plain layer (nydus-image is not here)'}, ${formatBytes(lazy.size)}`,
    ],
    [
      'origin',
      `a registry at ${origin.url} with logins, ${formatRate(ORIGIN_BYTES_PER_SECOND)} in all, ${ORIGIN_ROUND_TRIP_MS} ms away`,
    ],
    ['nodes', `Damselfly at ${nodes.map(({ url }) => url).join(', ')}`],
  ];
  for (const [name = '', value] of facts) console.log(`  ${name.padEnd(11)} ${value}`);
  console.log(`
  requested: what clients got. From origin: what the registry sent for it, by its own count. From peers: what nodes
  sent each other. From cache: the rest. Amplification: from origin divided by requested; without nodes it is 1 or more.
`);
}

async function steps(
  scene: Scene,
  nodes: readonly [NodeProcess, ...NodeProcess[]],
  pool: ReturnType<typeof keepAlive>,
  signal: AbortSignal,
): Promise<Step[]> {
  const plan = await lazyPlan(scene.lazy.size, LAZY_SHARE);

  // containerd names the registry that it means; nydusd does not, and gets the node's default origin.
  const clientFor = (node: NodeProcess, repository: string, namespace?: string) =>
    new ImageClient({ nodeUrl: node.url, repository, namespace, account: ACCOUNT, agent: pool.http, signal });

  /** All at once. */
  const pull = async (repository: string, through: readonly NodeProcess[]): Promise<number> => {
    const clients = through.map((node) => clientFor(node, repository, scene.origin.host));
    await Promise.all(clients.map((client) => client.pull('v1')));
    return clients.reduce((sum, client) => sum + client.received.bytes, 0);
  };

  const lazyClients = nodes.map((node) => clientFor(node, scene.lazy.repository));
  const readThrough = async (client: ImageClient): Promise<number> => {
    const already = client.received.bytes;
    await using source = await open(scene.lazy.file);
    // One request after the other and all with one token, as nydusd does.
    for (const span of plan) {
      const bytes = await client.read(scene.lazy.digest, span);
      const right = Buffer.alloc(bytes.length);
      await source.read(right, 0, right.length, span.start);
      if (!bytes.equals(right)) throw new Error(`wrong bytes at ${span.start} of ${scene.lazy.digest}`);
    }
    return client.received.bytes - already;
  };
  const readLazily = async (): Promise<number> =>
    (await Promise.all(lazyClients.map(readThrough))).reduce((sum, bytes) => sum + bytes, 0);

  const { app, other } = REPOSITORIES;
  const percent = Math.round(LAZY_SHARE * 100);
  const [first, ...others] = nodes;
  return [
    { name: 'node 1 pulls an image, cold', run: () => pull(app, [first]), maxAmplification: 1.1 },
    // 0 where the machine has time for it; a planner that cannot answer in 100 ms is passed over.
    { name: 'the others pull it', run: () => pull(app, others), maxAmplification: 0.3 },
    { name: 'all pull it again', run: () => pull(app, nodes), maxAmplification: 0.01 },
    {
      name: 'all pull another at once, cold',
      run: () => pull(other, nodes),
      maxAmplification: 1.3 / nodes.length,
    },
    { name: `all read ${percent} % lazily, cold`, run: readLazily, maxAmplification: 1 },
    { name: 'the same lazy reads again', run: readLazily, maxAmplification: 0 },
    {
      name: 'and with the registry down',
      before: () => scene.origin.down(),
      run: readLazily,
      after: () => scene.origin.up(),
      maxAmplification: 0,
    },
  ];
}
