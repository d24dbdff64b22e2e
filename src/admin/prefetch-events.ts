import type { ErrorCode } from '../errors.ts';

/**
 * `POST /api/v1/prefetch` takes this as JSON (Content-Type: application/json), with `Authorization: Bearer <token>`
 * when `admin.tokenFile` is set. It answers 200 and a stream of NDJSON {@link PrefetchEvent}s (application/x-ndjson),
 * or, when the job cannot begin (malformed, no token, no free slot), the error's status and an {@link AdminProblem}.
 */
export interface PrefetchRequest {
  /** `host/repo:tag`, `host/repo@digest`, a docker.io short name, `oci://…`, or a blob's or manifest's URL. */
  readonly reference: string;
  /** `os/architecture[/variant]`, or `all`; this machine's own when left out. Meaningless for a blob URL. */
  readonly platform?: string;
}

interface PrefetchState {
  readonly reference: string;
  /** How many blobs the reference comes to: config and layers of every chosen manifest. */
  readonly blobs: number;
  readonly blobsDone: number;
  readonly bytesDone: number;
  /** Null while the size of a blob is not known. */
  readonly bytesTotal: number | null;
}

/** `start` once the blobs are known, `progress` about twice a second, then exactly one `done` or `failed`. */
export type PrefetchEvent =
  | ({ readonly event: 'start' | 'progress' | 'done' } & PrefetchState)
  | ({ readonly event: 'failed'; readonly code: ErrorCode; readonly message: string } & PrefetchState);

/** Body of every error answer of the admin port. */
export interface AdminProblem {
  readonly code: ErrorCode;
  readonly message: string;
}
