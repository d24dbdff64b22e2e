import { fileURLToPath } from 'node:url';
import { type Cluster, startCluster } from '../../support/cluster/cluster.ts';
import { ORIGIN_HOST } from '../../support/cluster/place.ts';
import { cannotMakeNetns } from '../../support/netns/cannot.ts';
import { carry } from '../../support/netns/carry.ts';
import { readTrace } from '../../support/trace.ts';
import { REPOSITORY } from '../origin.ts';
import { type Bench, MIB, MINUTE_MS, OURS, type Stage } from '../stage.ts';
import { type CrowdRates, originOnlySeconds } from './bound.ts';
import { runCrowd } from './crowd.ts';
import {
  crowdFigures,
  failures,
  MAX_START_SPREAD_MS,
  nodeRows,
  startSpreadMs,
  swarmRows,
} from './figures.ts';
import { type FlashCrowdOptions, killCount, type ReadKind, showRate } from './options.ts';
import { replay, type Wanted, wholeBlob } from './wanted.ts';

/** What users run; the sources need more memory for their types. */
const BUILT = fileURLToPath(new URL('../../../dist/src/main.js', import.meta.url));
/** What a crowd may take, in times that the origin alone would need for all of it. */
const PATIENCE = 3;
const MIN_TIMEOUT_MS = 60_000;
/** Past this share of all cores the machine may be what is measured. */
const MAX_BUSY = 0.9;

interface Setting {
  readonly options: FlashCrowdOptions;
  readonly form: 'netns' | 'loopback';
  readonly nodes: number;
  readonly sizeBytes: number;
  readonly traceReads: number | undefined;
  readonly rates: CrowdRates;
}

/** N nodes that want the same cold blob in the same moment, against the theoretical bound of their links. */
export const flashCrowd: Bench = {
  what: 'N cold nodes want the same blob at once behind shaped links: time against the bound, what the origin sent',
  deadlineMs: 60 * MINUTE_MS,
  run: async (stage) => {
    const setting = settingOf(stage);
    const { form, options } = setting;
    if (form === 'loopback') {
      const why = options.form === undefined ? ` (${cannotMakeNetns})` : '';
      stage.record.note(`on loopback${why}: only the origin and what peers give and take are capped`);
    }
    const failed: string[] = [];
    for (const kind of options.reads) {
      for (let round = 0; round < (stage.rounds ?? 1); round += 1) {
        failed.push(...(await runOnce(stage, setting, kind, round)));
      }
    }
    if (failed.length > 0) throw new Error(failed.join('\n'));
  },
};

function settingOf({ crowd: options, quick }: Stage): Setting {
  const form = options.form ?? (cannotMakeNetns === false ? 'netns' : 'loopback');
  if (form === 'netns' && cannotMakeNetns !== false) throw new Error(cannotMakeNetns);
  const { originRate, rate } = options;
  // Nothing on loopback limits what a node takes from the origin, and what it takes from peers comes on top.
  const loopbackDown = options.peers ? rate + originRate : Number.POSITIVE_INFINITY;
  return {
    ...{ options, form, traceReads: options.traceReads ?? (quick ? 24 : undefined) },
    nodes: options.nodes ?? (quick ? 3 : 8),
    sizeBytes: options.sizeBytes ?? (quick ? 16 : 256) * MIB,
    rates: { originUp: originRate, nodeUp: rate, nodeDown: form === 'netns' ? rate : loopbackDown },
  };
}

/** @returns what is wrong with it. */
async function runOnce(stage: Stage, setting: Setting, kind: ReadKind, round: number): Promise<string[]> {
  const { form, nodes, options, rates } = setting;
  const wanted = kind === 'whole' ? wholeBlob(setting.sizeBytes) : await replayed(setting);
  // Of another content each round, as if nobody had ever seen it.
  const seed = `flash crowd ${kind} ${round}`;
  const { originRate, peers, rate, transport, zones } = options;
  const cluster = await startCluster({
    ...{ nodes, form, rate, originRate, zones },
    main: process.env.BENCH_DAMSELFLY ?? BUILT,
    origin: { repositories: { [REPOSITORY]: { blobs: [{ size: wanted.blobBytes, seed }] } } },
    ...(peers ? { peers: { transport } } : {}),
    ...(options.folder === undefined ? {} : { parentFolder: options.folder }),
  });
  stage.scope.defer(() => cluster.close());
  try {
    stage.signal.throwIfAborted();
    const path = cluster.origin.repositories[REPOSITORY]?.blobs[0]?.path;
    if (path === undefined) throw new Error('the origin has no blob');
    if (form === 'netns' && kind === options.reads[0] && round === 0)
      await noteLink(stage, cluster, rate, originRate);
    const crowd = { bytes: wanted.pieceBytes, readers: nodes, uploaders: nodes };
    const facts = await runCrowd(cluster, {
      ...{ blob: { path, seed }, wanted, signal: stage.signal },
      kills: killCount(nodes, options.killShare),
      timeoutMs: Math.max(MIN_TIMEOUT_MS, PATIENCE * 1000 * originOnlySeconds(crowd, rates)),
    });
    const name = caseName(setting, kind, wanted);
    for (const [measure, value] of crowdFigures(facts, wanted, rates))
      stage.record.add({ case: name, measure, rival: OURS, round, value });
    stage.record.detail(`${name}, round ${round + 1}`, nodeRows(facts));
    if (peers) stage.record.detail(`${name}, round ${round + 1}, what the swarm counted`, swarmRows(facts));
    if (facts.machineBusySeconds > MAX_BUSY * facts.machineSeconds)
      stage.record.note(`${name}: all cores were busy; with more of them it may be faster`);
    if (startSpreadMs(facts) > MAX_START_SPREAD_MS)
      stage.record.note(`${name}: the nodes did not begin within ${MAX_START_SPREAD_MS} ms`);
    return failures(facts).map((why) => `${name}, round ${round + 1}: ${why}`);
  } finally {
    await cluster.close();
  }
}

async function replayed({ options, traceReads }: Setting): Promise<Wanted> {
  return replay(await readTrace(options.trace), traceReads);
}

/** What plain TCP makes of a link, so that what a node makes of it can be judged. */
async function noteLink(stage: Stage, cluster: Cluster, rate: number, originRate: number): Promise<void> {
  const [first] = cluster.nodes;
  if (first === undefined) return;
  const [origin, node] = [cluster.lab.host(ORIGIN_HOST), cluster.lab.host(first.name)];
  const slower = Math.min(rate, originRate);
  const carried = await carry(origin, node, { bytes: Math.round(slower) });
  stage.record.note(`plain TCP carries ${showRate(carried)} over a link of ${showRate(slower)}`);
}

/** `whole blob of 256 MiB, 8 nodes of 20 MB/s, peers off, netns`. */
function caseName({ form, nodes, options }: Setting, kind: ReadKind, wanted: Wanted): string {
  const { killShare, originRate, peers, rate, transport, zones } = options;
  const what =
    kind === 'whole'
      ? `whole blob of ${Math.round(wanted.blobBytes / MIB)} MiB`
      : `lazy reads of ${Math.round(wanted.pieceBytes / MIB)} MiB`;
  return [
    what,
    `${nodes} nodes of ${showRate(rate)}`,
    ...(originRate === rate ? [] : [`an origin of ${showRate(originRate)}`]),
    ...(zones === 0 ? [] : [`${zones} zones`]),
    ...(killShare === 0 ? [] : [`${killCount(nodes, killShare)} killed`]),
    peers ? `peers by ${transport}` : 'peers off',
    form,
  ].join(', ');
}
