import type { Digest } from '../blob/digest.ts';
import type { ErrorCode } from '../errors.ts';
import type { GcReport } from '../store/gc.ts';
import type { VerifyEvent } from '../store/verify.ts';

/** `GET /api/v1/blobs?limit=&after=&digest=`: one page, the most recently read first. */
export interface BlobsDocument {
  readonly blobs: readonly BlobLine[];
  /** `after` of the next page; null on the last one. */
  readonly next: string | null;
  /** Of all pages. */
  readonly total: { readonly blobs: number; readonly diskBytes: number };
}

/** One blob of which at least a piece is on the node's disk. */
export interface BlobLine {
  readonly digest: Digest;
  /** Bytes of the whole blob. */
  readonly size: number;
  readonly mediaType: string | null;
  readonly pieces: { readonly present: number; readonly total: number };
  /** Allocated bytes of what is here. */
  readonly diskBytes: number;
  /** The whole is here and matched its digest. */
  readonly proven: boolean;
  readonly lastReadAt: string;
  /** Origins that have shown that they have it. */
  readonly origins: readonly string[];
  /** Where it was seen to belong, `host/repository`; a few of them. */
  readonly repositories: readonly string[];
}

/**
 * `POST /api/v1/cache/verify`, `/gc` and `/rm` take these as JSON, under the rules of `POST /api/v1/prefetch`, and answer
 * NDJSON: events, of which the last one is `done` or `failed`.
 */
export interface VerifyRequest {
  /** Digests or beginnings of them; none: everything. */
  readonly digests?: readonly string[] | undefined;
  readonly bytesPerSecond?: number | undefined;
}

export interface GcRequest {
  readonly olderThanMs?: number | undefined;
  readonly maxBytes?: number | undefined;
}

/** Either digests or all of them. */
export interface RemoveRequest {
  readonly digests?: readonly string[] | undefined;
  readonly all?: boolean | undefined;
}

export interface FailedEvent {
  readonly event: 'failed';
  readonly code: ErrorCode;
  readonly message: string;
}

export type CacheVerifyEvent = VerifyEvent | FailedEvent;

export type CacheGcEvent = ({ readonly event: 'done' } & GcReport) | FailedEvent;

export interface RemovedBlob {
  readonly digest: Digest;
  /** Allocated bytes that it had. */
  readonly bytes: number;
  /** Somebody reads or fills it at this moment: it goes when they have ended. */
  readonly inUse: boolean;
}

export type CacheRemoveEvent =
  | ({ readonly event: 'removed' } & RemovedBlob)
  | { readonly event: 'done'; readonly blobs: number; readonly bytes: number; readonly inUse: number }
  | FailedEvent;
