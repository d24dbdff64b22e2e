import type { Digest } from '../blob/digest.ts';
import type { Upstream } from '../blob/upstream.ts';

/** A blob that is asked for. */
export interface BlobQuery {
  readonly upstream: Upstream;
  readonly digest: Digest;
  /** The `ns` to echo. */
  readonly namespace: string | undefined;
}
