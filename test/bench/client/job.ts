/** What the load generator is told to do. */
export interface LoadJob {
  /** Each request takes one of them, in turn, or at random when it asks for ranges. */
  readonly urls: readonly string[];
  /** Size of every blob. */
  readonly blobBytes: number;
  /** Length of the ranges at random, unaligned offsets; undefined: whole blobs. */
  readonly rangeBytes?: number;
  readonly connections: number;
  readonly until: { readonly seconds: number } | { readonly requests: number };
  /** The same seed asks for the same ranges. */
  readonly seed: number;
  /** Hashes the bodies, for one request after another. */
  readonly digest?: boolean;
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
}

export interface LoadResult {
  readonly requests: number;
  /** Body bytes. */
  readonly bytes: number;
  readonly seconds: number;
  /** From the request to the last byte. */
  readonly latencyMs: Quantiles;
  /** From the request to the first body byte; undefined where the client cannot tell. */
  readonly firstByteMs?: Quantiles;
  /** What the load generator itself used: near `seconds`, it was the bottleneck. */
  readonly clientCpuSeconds: number;
  readonly client: 'own client' | 'wrk';
  readonly digest?: string;
}
