import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
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
  node: NodeProcess,
  signal: AbortSignal,
): Promise<string[]> {
  const table = new Table(
    steps.map((step) => step.name),
    (line) => console.log(line),
  );
  const failures: string[] = [];
  let counted = await sentBytes(origin);
  for (const { name, run, before, after, maxAmplification } of steps) {
    signal.throwIfAborted();
    await before?.();
    const begunMs = performance.now();
    const requested = await run();
    const ms = performance.now() - begunMs;
    await settled(origin, node, signal);
    await after?.();
    const total = await sentBytes(origin);
    const fromOrigin = total - counted;
    counted = total;
    table.add({ step: name, requested, fromOrigin, ms });
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

/** What the node still reads ahead belongs to the step that caused it. */
async function settled(origin: OriginProcess, node: NodeProcess, signal: AbortSignal): Promise<void> {
  const isQuiet = async (): Promise<boolean> => {
    const answer = await httpGet(`http://${node.adminHost}/api/v1/status`, { signal });
    const status = answer.json() as {
      prefetch: { running: number };
      originRequests: { open: number; queued: number };
    };
    const { open, queued } = status.originRequests;
    return status.prefetch.running + open + queued === 0;
  };
  await eventually(isQuiet, { timeoutMs: SETTLE_TIMEOUT_MS, what: 'the node has nothing under way' });
  await origin.idle();
}
