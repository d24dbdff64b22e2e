import type { StatusDocument } from '../admin/status-document.ts';
import { type DiskFault, FAULT_ADVICE } from '../store/health.ts';
import { membersLine, planningLine, trafficLine } from './peers/text.ts';
import { formatBytes, formatSeconds, formatShare } from './quantity.ts';

const LABEL_WIDTH = 12;
const SOURCES = ['memory', 'disk', 'peer', 'dragonfly', 'origin'] as const;

/** The status document as a person reads it: the answer to "did it help?" comes first. */
export function statusText(status: StatusDocument): string {
  const rows: [label: string, ...lines: string[]][] = [
    ['served', ...servedLines(status)],
    ['from origin', ...originLines(status)],
    ['requests', requestLine(status)],
    ['cache', ...cacheLines(status)],
    ['origins', ...list(status.origins.map(originLine))],
    ['listening', ...Object.entries(status.listen).map(([name, at]) => `${name} ${at.join(', ')}`)],
  ];
  const { warnings, recentErrors, prefetch, peers } = status;
  // A node of an earlier version has no such key.
  if (peers != null)
    rows.push(['peers', membersLine(peers), `${trafficLine(peers)}; ${planningLine(peers)}`]);
  if (prefetch.running > 0) rows.push(['prefetch', `${prefetch.running} of ${prefetch.maxRunning} running`]);
  if (warnings.length > 0) rows.push(['warnings', ...warnings]);
  if (recentErrors.length > 0)
    rows.push(['errors', ...recentErrors.slice(-RECENT).toReversed().map(errorLine)]);
  return `${headline(status)}\n\n${rows.map(([label, ...lines]) => row(label, lines)).join('\n')}`;
}

/** The newest errors; all of them are in the document. */
const RECENT = 5;

function headline({ version, node, uptimeSeconds, health }: StatusDocument): string {
  const state = health.healthy ? 'healthy' : `NOT healthy: ${health.reasons.join('; ')}`;
  return `damselfly ${version} on Node ${node.replace(/^v/, '')}, up ${formatSeconds(uptimeSeconds)}, ${state}`;
}

function servedLines({ traffic }: StatusDocument): string[] {
  const total = SOURCES.reduce((sum, source) => sum + traffic.servedBytes[source], 0);
  const shares = SOURCES.filter((source) => traffic.servedBytes[source] > 0).map(
    (source) =>
      `${source} ${formatBytes(traffic.servedBytes[source])} (${formatShare(traffic.servedBytes[source], total)})`,
  );
  return shares.length === 0 ? ['nothing yet'] : [`${formatBytes(total)}: ${shares.join(', ')}`];
}

function originLines({ traffic }: StatusDocument): string[] {
  const { requestedBytes, originBytes, savedBytes, amplification } = traffic;
  if (amplification === null) return [`${formatBytes(originBytes)}; nothing was asked for yet`];
  return [
    `${formatBytes(originBytes)} for ${formatBytes(requestedBytes)} asked for (${amplification.toFixed(2)}×): ` +
      `${formatBytes(savedBytes)} of egress saved (${formatShare(savedBytes, requestedBytes)})`,
  ];
}

function requestLine({ requests }: StatusDocument): string {
  const { total, ok, refused, failed, aborted } = requests;
  return `${total}: ok ${ok}, refused ${refused}, failed ${failed}, aborted by the client ${aborted}`;
}

function cacheLines({ cache }: StatusDocument): string[] {
  const lines = [
    `${cache.blobs} blobs, ${formatBytes(cache.usedBytes)} of ${formatBytes(cache.maxBytes)} (${formatShare(cache.usedBytes, cache.maxBytes)}) in ${cache.dir}`,
    `memory ${formatBytes(cache.memoryBytes)} of ${formatBytes(cache.maxMemoryBytes)}`,
  ];
  const { degraded } = cache;
  if (degraded !== null) {
    const advice = degraded in FAULT_ADVICE ? `: ${FAULT_ADVICE[degraded as DiskFault]}` : '';
    lines.push(`DEGRADED, pieces pass through unkept: ${degraded}${advice}`);
  }
  return lines;
}

function originLine(origin: StatusDocument['origins'][number]): string {
  return `${origin.origin}: ${origin.breaker === 'closed' ? 'ok' : 'FAILING, tried once a second'}`;
}

function errorLine(error: StatusDocument['recentErrors'][number]): string {
  const times = error.count > 1 ? ` (${error.count} times)` : '';
  return `${error.at} ${error.code}: ${error.message}${times}${error.remedy === undefined ? '' : `. ${error.remedy}`}`;
}

function list(lines: readonly string[]): string[] {
  return lines.length === 0 ? ['none yet'] : [...lines];
}

function row(label: string, lines: readonly string[]): string {
  return lines.map((line, index) => (index === 0 ? label : '').padEnd(LABEL_WIDTH) + line).join('\n');
}
