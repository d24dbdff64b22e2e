import { PIECE_BYTES } from '../../../src/blob/piece.ts';
import type { Scenario } from './scenario.ts';
import { SimWorld } from './world.ts';

const HANDSHAKE_CPU_MS = 5;
/** Each node swaps a hash of its table with so many others, so often; both ways, frames included. */
const SYNC_PARTNERS = 3;
const SYNC_MS = 2_000;
const SYNC_BYTES = 2 * 160;

export interface Outcome {
  readonly isComplete: boolean;
  readonly boundMs: number;
  readonly slowestMs: number;
  readonly medianMs: number;
  /** bound ÷ slowest. */
  readonly efficiency: number;
  /** Pieces read from the origin ÷ pieces wanted by anybody. */
  readonly amplification: number;
  /** Pieces that came to a node that had them ÷ all that came. */
  readonly duplicates: number;
  /** Uploads of the hottest node ÷ their mean. */
  readonly hottest: number;
  /** Planner messages and fetch questions, bytes in and out of a node ÷ its payload: mean and most. */
  readonly control: number;
  readonly controlMost: number;
  readonly plannerMessages: number;
  readonly plannerMessagesMost: number;
  readonly membership: number;
  readonly peers: number;
  readonly peakConnections: number;
  readonly handshakes: number;
  readonly handshakeCpuMs: number;
  readonly firstByteMs: number;
  readonly unleased: number;
  readonly givenUp: number;
  readonly hedged: number;
  readonly busy: number;
  readonly wallMs: number;
}

/** The fluid bound of Kumar and Ross: one copy from the origin, one link down, all uploads together. */
export function boundMs({ nodes, pieces, upRate, downRate, originRate }: Scenario): number {
  const bytes = pieces * PIECE_BYTES;
  const all = (nodes * bytes) / (originRate + nodes * upRate);
  return 1_000 * Math.max(bytes / originRate, bytes / downRate, all);
}

export function simulate(scenario: Scenario): Outcome {
  const started = performance.now();
  const world = new SimWorld(scenario);
  const isComplete = world.run();
  const nodes = world.nodes.filter(({ isDead }) => !isDead);
  const times = nodes
    .map(({ doneAt, startedAt }) => (doneAt ?? scenario.limitMs) - startedAt)
    .sort((a, b) => a - b);
  const firsts = nodes
    .map((node) => (node.firstByteAt ?? scenario.limitMs) - node.startedAt)
    .sort((a, b) => a - b);
  const slowestMs = times.at(-1) ?? 0;
  const wanted = scenario.reads === 'whole' ? scenario.pieces : Math.min(scenario.lazyReads, scenario.pieces);
  const payload = wanted * PIECE_BYTES;
  const uploads = nodes.map(({ up }) => up.total);
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / Math.max(values.length, 1);
  const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), 0);
  const bound = boundMs({ ...scenario, pieces: wanted });
  const come = nodes.reduce((sum, { fromOrigin, fromPeers }) => sum + fromOrigin + fromPeers, 0);
  return {
    isComplete,
    boundMs: bound,
    slowestMs,
    medianMs: times[times.length >> 1] ?? 0,
    efficiency: bound / slowestMs,
    amplification: world.originPieces / wanted,
    duplicates: world.duplicates / come,
    hottest: most(uploads) / mean(uploads),
    control: mean(nodes.map(({ controlBytes }) => controlBytes)) / payload,
    controlMost: most(nodes.map(({ controlBytes }) => controlBytes)) / payload,
    plannerMessages: mean(nodes.map(({ plannerMessages }) => plannerMessages)),
    plannerMessagesMost: most(nodes.map(({ plannerMessages }) => plannerMessages)),
    membership: ((slowestMs / SYNC_MS) * 2 * SYNC_PARTNERS * SYNC_BYTES) / payload,
    peers: most(nodes.map(({ touched }) => touched.size)),
    peakConnections: most(nodes.map(({ peakConnections }) => peakConnections)),
    handshakes: mean(nodes.map(({ handshakes }) => handshakes)),
    handshakeCpuMs: HANDSHAKE_CPU_MS * most(nodes.map(({ handshakes }) => handshakes)),
    firstByteMs: firsts[firsts.length >> 1] ?? 0,
    givenUp: nodes.reduce((sum, { givenUp }) => sum + givenUp, 0),
    unleased: nodes.reduce((sum, { unleased }) => sum + unleased, 0),
    hedged: nodes.reduce((sum, { hedged }) => sum + hedged, 0),
    busy: nodes.reduce((sum, { busyAnswers }) => sum + busyAnswers, 0),
    wallMs: performance.now() - started,
  };
}
