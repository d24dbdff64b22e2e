import { eventually } from '../support/eventually.ts';
import type { OriginProcess } from '../support/origin-process.ts';
import type { NodeProcess } from './node-process.ts';
import { Table } from './table.ts';

export interface Step {
  readonly name: string;
  /** @returns bytes that clients asked for and got. */
  readonly run: () => Promise<number>;
  readonly before?: () => Promise<void>;
  readonly after?: () => Promise<void>;
  /** Origin bytes per requested byte; more is a failure of the demo. */
  readonly maxAmplification: number;
}

const SETTLE_TIMEOUT_MS = 5_000;

/**
 * Runs the steps in turn and prints a row for each.
 * @returns in words where the registry sent more than it should have.
 */
export async function runSteps(
  steps: readonly Step[],
  origin: OriginProcess,
  nodes: readonly NodeProcess[],
  signal: AbortSignal,
): Promise<string[]> {
  const table = new Table(
    steps.map((step) => step.name),
    (line) => console.log(line),
  );
  const failures: string[] = [];
  let counted = await sentBytes(origin);
  let exchanged = await peerBytes(nodes, signal);
  for (const { name, run, before, after, maxAmplification } of steps) {
    signal.throwIfAborted();
    await before?.();
    const begunMs = performance.now();
    const requested = await run();
    const ms = performance.now() - begunMs;
    await settled(origin, nodes, signal);
    await after?.();
    const total = await sentBytes(origin);
    const fromOrigin = total - counted;
    counted = total;
    const totalPeers = await peerBytes(nodes, signal);
    const fromPeers = totalPeers - exchanged;
    exchanged = totalPeers;
    table.add({ step: name, requested, fromOrigin, fromPeers, ms });
    if (fromOrigin > requested * maxAmplification) {
      failures.push(`"${name}" cost ${fromOrigin} bytes at the registry for ${requested}`);
    }
  }
  return failures;
}

/** Body bytes of blobs and manifests that the registry sent so far, by its own count. */
async function sentBytes(origin: OriginProcess): Promise<number> {
  const records = await origin.requests();
  return records
    .filter(
      ({ endpoint, status }) => ['blob', 'manifest'].includes(endpoint) && status >= 200 && status < 300,
    )
    .reduce((sum, { bytesSent }) => sum + bytesSent, 0);
}

/** Bytes that nodes received from each other so far, by their own count. */
async function peerBytes(nodes: readonly NodeProcess[], signal: AbortSignal): Promise<number> {
  const all = await Promise.all(nodes.map((node) => node.status(signal)));
  return all.reduce((sum, { traffic }) => sum + traffic.receivedBytes.peer, 0);
}

/** What nodes still read ahead belongs to the step that caused it. */
async function settled(
  origin: OriginProcess,
  nodes: readonly NodeProcess[],
  signal: AbortSignal,
): Promise<void> {
  const isQuiet = async (): Promise<boolean> => {
    const all = await Promise.all(nodes.map((node) => node.status(signal)));
    return all.every(({ prefetch, originRequests: { open, queued }, peers }) => {
      const transfers = peers?.transfers.length ?? 0;
      return prefetch.running + open + queued + transfers === 0;
    });
  };
  await eventually(isQuiet, { timeoutMs: SETTLE_TIMEOUT_MS, what: 'no node has anything under way' });
  await origin.idle();
}
