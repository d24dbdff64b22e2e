import { median } from '../measure.ts';
import { boundSeconds, type CrowdRates, originOnlySeconds } from './bound.ts';
import type { CrowdFacts, NodeFacts } from './facts.ts';
import type { Wanted } from './wanted.ts';

/** A measure with its unit, and its value. */
export type Figures = readonly (readonly [measure: string, value: number])[];

/** Links carry their questions and acknowledgements too; below this share of what was wanted they are all there is. */
const UPLOAD_NOISE = 0.03;
export const MAX_START_SPREAD_MS = 100;

/** The nodes that were to finish. */
export function survivors(facts: CrowdFacts): NodeFacts[] {
  return facts.nodes.filter((node) => !node.killed);
}

/** What is told of a crowd. Nodes that were killed count in what the origin sent and in wrong bytes only. */
export function crowdFigures(facts: CrowdFacts, wanted: Wanted, rates: CrowdRates): Figures {
  const nodes = survivors(facts);
  const seconds = nodes.map(({ outcome }) => (outcome.endedAtMs - facts.startAtMs) / 1000);
  const slowest = Math.max(...seconds);
  const crowd = { bytes: wanted.pieceBytes, readers: nodes.length, uploaders: facts.nodes.length };
  const bound = boundSeconds(crowd, rates);
  const firstBytes = nodes.flatMap(({ outcome }) => outcome.firstByteMs).toSorted((a, b) => a - b);
  const wantedByAll = nodes.length * wanted.pieceBytes;
  const processes = nodes.flatMap((node) => node.process ?? []);
  const wires = nodes.flatMap((node) => node.wire ?? []);
  const uploads = uploadBytes(nodes, wantedByAll);
  return [
    ['bound s', bound],
    ['bound without peers s', originOnlySeconds(crowd, rates)],
    ['slowest node s', slowest],
    ['median node s', median(seconds)],
    ['efficiency (bound ÷ slowest)', bound / slowest],
    ['origin amplification', facts.originBytes / wanted.pieceBytes],
    ...optional('origin amplification on the wire', ratio(facts.originWireBytes, wanted.pieceBytes)),
    ['received ÷ wanted', sum(processes.map((one) => one.originBytes + one.peerBytes)) / wantedByAll],
    ['share of it from peers', shareOf(sum(processes.map((one) => one.peerBytes)), processes)],
    ...optional(
      'received ÷ wanted on the wire',
      wires.length === 0 ? undefined : sum(wires.map((wire) => wire.downBytes)) / wantedByAll,
    ),
    ...optional('hottest upload ÷ mean', hottest(uploads)),
    ...optional('into a zone ÷ wanted, most', zoneCrossings(facts, wanted)),
    ['first byte p50 ms', quantile(firstBytes, 0.5)],
    ['first byte p99 ms', quantile(firstBytes, 0.99)],
    ['RSS peak MiB, most', Math.max(...processes.map((one) => one.peakMiB))],
    ['CPU s per node, mean', sum(processes.map((one) => one.cpuSeconds)) / processes.length],
    ['CPU s per node, most', Math.max(...processes.map((one) => one.cpuSeconds))],
    ['CPU s of all clients', facts.clientCpuSeconds],
    ['CPU s of the origin', facts.originCpuSeconds],
    ['machine busy %', (100 * facts.machineBusySeconds) / facts.machineSeconds],
    ['busy with this %', (100 * ownSeconds(facts)) / facts.machineSeconds],
    ['requests sent again', sum(nodes.map(({ outcome }) => outcome.retries))],
    ['start spread ms', startSpreadMs(facts)],
    ['wrong bytes', sum(facts.nodes.map(({ outcome }) => outcome.wrongBytes))],
    ['nodes that did not finish', unfinished(facts).length],
  ];
}

/** What makes the bench fail, in words; empty when all is well. */
export function failures(facts: CrowdFacts): string[] {
  const wrong = facts.nodes.filter(({ outcome }) => outcome.wrongBytes > 0);
  return [
    ...wrong.map(({ name, outcome }) => `${name} gave ${outcome.wrongBytes} wrong bytes`),
    ...unfinished(facts).map(({ name, outcome }) => `${name} did not finish: ${outcome.failure}`),
  ];
}

/** One row per node, for the table below the figures. */
export function nodeRows(facts: CrowdFacts): Readonly<Record<string, string | number>>[] {
  return facts.nodes.map(({ killed, name, outcome, process, wire }) => ({
    node: name,
    s: killed ? 'killed' : round((outcome.endedAtMs - facts.startAtMs) / 1000, 2),
    'first byte ms': round(outcome.firstByteMs[0] ?? Number.NaN, 0),
    'MB from origin': megabytes(process?.originBytes),
    'MB from peers': megabytes(process?.peerBytes),
    'MB to peers': megabytes(process?.sentToPeersBytes),
    'MB down on the wire': megabytes(wire?.downBytes),
    'MB up on the wire': megabytes(wire?.upBytes),
    'RSS MiB': process === undefined ? '–' : round(process.peakMiB, 0),
    'CPU s': process === undefined ? '–' : round(process.cpuSeconds, 2),
    'sent again': outcome.retries,
  }));
}

/** What the processes counted of the swarm, where it is not nothing; the one node with most of it shows a hot spot. */
export function swarmRows(facts: CrowdFacts): Readonly<Record<string, string | number>>[] {
  const counted = facts.nodes.flatMap((node) => [...(node.process?.counted ?? [])]);
  return [...Map.groupBy(counted, ([name]) => name)]
    .map(([counter, series]) => {
      const counts = series.map(([, value]) => value);
      return { counter, 'all nodes': sum(counts), 'most on one': Math.max(...counts) };
    })
    .filter((row) => row['all nodes'] > 0)
    .toSorted((a, b) => (a.counter < b.counter ? -1 : 1));
}

export function startSpreadMs(facts: CrowdFacts): number {
  const starts = facts.nodes.map(({ outcome }) => outcome.startedAtMs);
  return Math.max(...starts) - Math.min(...starts);
}

/** Of sorted values, the smallest that is at least as great as so many of them. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

function unfinished(facts: CrowdFacts): NodeFacts[] {
  return survivors(facts).filter(({ outcome }) => outcome.failure !== null);
}

/** What the machine did for the crowd, as far as processes are charged with it. */
export function ownSeconds(facts: CrowdFacts): number {
  const nodes = facts.nodes.map((node) => node.process?.cpuSeconds ?? 0);
  return facts.clientCpuSeconds + facts.originCpuSeconds + sum(nodes);
}

/** By link where there are links: it counts whatever went out, whoever counted it. */
function uploadBytes(nodes: readonly NodeFacts[], wantedByAll: number): number[] {
  const wires = nodes.flatMap(({ wire }) => wire?.upBytes ?? []);
  const own = nodes.flatMap((node) => node.process?.sentToPeersBytes ?? []);
  const uploads = wires.length === nodes.length ? wires : own;
  return sum(uploads) < UPLOAD_NOISE * wantedByAll ? [] : uploads;
}

function hottest(uploads: readonly number[]): number | undefined {
  return uploads.length === 0 ? undefined : Math.max(...uploads) / (sum(uploads) / uploads.length);
}

function zoneCrossings({ zoneInBytes }: CrowdFacts, wanted: Wanted): number | undefined {
  return zoneInBytes.length === 0 ? undefined : Math.max(...zoneInBytes) / wanted.pieceBytes;
}

function shareOf(
  peerBytes: number,
  processes: readonly { originBytes: number; peerBytes: number }[],
): number {
  const all = sum(processes.map((one) => one.originBytes + one.peerBytes));
  return all === 0 ? 0 : peerBytes / all;
}

function ratio(part: number | undefined, whole: number): number | undefined {
  return part === undefined ? undefined : part / whole;
}

function optional(measure: string, value: number | undefined): (readonly [string, number])[] {
  return value === undefined ? [] : [[measure, value]];
}

function megabytes(bytes: number | undefined): number | string {
  return bytes === undefined ? '–' : round(bytes / 1e6, 1);
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
