import type { DamselflyError, OriginRefusal } from '../errors.ts';

/** What a granted answer told about the blob, for whoever needs its size next. */
export interface BlobFacts {
  /** Bytes; undefined when the answer did not say (a redirect, a chunked answer). */
  readonly size?: number | undefined;
  readonly mediaType?: string | undefined;
}

/** Whether a requester may read a blob. */
export type Verdict =
  | ({ readonly kind: 'granted' } & BlobFacts)
  /** The origin's own no, to be passed on as it is. */
  | { readonly kind: 'refused'; readonly refusal: OriginRefusal }
  /** Nobody could say: `error` is what the client gets. */
  | { readonly kind: 'unreachable'; readonly error: DamselflyError };
