import { readFile } from 'node:fs/promises';
import type { Span } from '../../src/blob/span.ts';

export const TRACES = [
  'nydusd-2.2.0-rafs6-whole-tree',
  'nydusd-2.4.4-rafs6-whole-tree',
  'containerd-2.4.2-parallel-fetch',
  'containerd-2.4.2-sequential',
  'nydus-snapshotter-0.16.1-whole-tree',
  'stargz-0.19.1-whole-layer',
] as const;
export type TraceName = (typeof TRACES)[number];

/** The recorded requests of a real client. */
export interface Trace {
  readonly client: string;
  readonly note: string;
  /** Bytes of the blob that was read. */
  readonly blobSize: number;
  readonly requests: readonly TraceRequest[];
}

export interface TraceRequest {
  /** Milliseconds since the first request. */
  readonly ms: number;
  readonly connection: number;
  readonly method: string;
  readonly path: string;
  /** First and last byte as in the Range header; last is null when open-ended, the whole when there was no Range. */
  readonly range: readonly [number, number | null] | null;
  /** Of a request for several ranges all of them, in order; `range` then spans them. */
  readonly ranges?: readonly (readonly [number, number | null])[];
}

export async function readTrace(name: TraceName): Promise<Trace> {
  const text = await readFile(new URL(`../fixtures/traces/${name}.json`, import.meta.url), 'utf8');
  return JSON.parse(text) as Trace;
}

/** The Range header of a recorded request; undefined when it had none. */
export function rangeHeader(request: TraceRequest): string | undefined {
  if (request.range === null) return undefined;
  const ranges = request.ranges ?? [request.range];
  return `bytes=${ranges.map(([first, last]) => `${first}-${last ?? ''}`).join(',')}`;
}

/** The bytes that a recorded request of a blob asked for; empty for containerd's last, which begins at the end. */
export function traceSpan(request: TraceRequest, blobSize: number): Span {
  const [first, last] = request.range ?? [0, null];
  return { start: first, end: last === null ? blobSize : Math.min(last + 1, blobSize) };
}
