import type { Digest } from '../blob/digest.ts';

/** A blob's strong validator: its digest in quotes, which is what registries themselves send. */
export function entityTag(digest: Digest): string {
  return `"${digest}"`;
}

/**
 * Whether a Range header is to be looked at (RFC 9110 §13.1.5). Only the very same strong entity tag holds: we send no
 * Last-Modified, so a date never does, nor does a weak tag or anything that is neither. When it does not hold, the
 * Range is ignored and the answer is the whole blob.
 */
export function ifRangeHolds(ifRange: string | undefined, etag: string): boolean {
  return ifRange === undefined || ifRange.trim() === etag;
}

const ENTITY_TAG = /(?:W\/)?("[\x21\x23-\x7e\x80-\xff]*")/g;

/**
 * Whether `If-None-Match` names what the client would get, so that 304 answers it (RFC 9110 §13.1.2, weak comparison).
 * It is looked at before Range (§13.2.2), and only once the requester may read the blob: a 304 tells that it is there.
 */
export function ifNoneMatchHits(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === '*') return true;
  for (const [, tag] of ifNoneMatch.matchAll(ENTITY_TAG)) if (tag === etag) return true;
  return false;
}
