import type { Digest } from '../blob/digest.ts';
import { digestHex } from '../blob/digest.ts';
import type { SourceName } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import { entityTag } from './if-range.ts';

/** Answer headers of one blob or manifest; what is undefined is left out. */
export interface BlobHead {
  readonly digest: Digest;
  /** Bytes of the body that this answer announces; of a HEAD, of the body that a GET would have. */
  readonly length: number;
  /** As the origin sent it, or that of a multipart body. */
  readonly mediaType: string | undefined;
  /** A single part of a blob of so many bytes: goes with status 206 and makes the Content-Range. */
  readonly part?: { readonly span: Span; readonly size: number } | undefined;
  /** False for manifests: a Range on them is ignored, so none is offered. */
  readonly acceptRanges?: boolean;
  /** Where the first piece comes from; undefined for a HEAD that touched none. */
  readonly source?: SourceName | undefined;
  /** True when every piece of the blob was on this node when the head was made. */
  readonly complete?: boolean;
  /** The registry that the client named with `ns`, echoed (distribution-spec, "Registry Proxying"). */
  readonly namespace?: string | undefined;
}

/** RFC 9110 §8.3: what a blob of unknown type is. */
export const DEFAULT_MEDIA_TYPE = 'application/octet-stream';

const MEDIA_TYPE = /^[!#$%&'*+.^_`|~\w-]+\/[!#$%&'*+.^_`|~\w-]+[ \t]*(;[\x20-\x7e\t]*)?$/;

/** A media type that came over the network, if it may stand in a header line of ours, also inside a multipart body. */
export function safeMediaType(mediaType: string | undefined): string {
  return mediaType !== undefined && MEDIA_TYPE.test(mediaType) ? mediaType : DEFAULT_MEDIA_TYPE;
}

/** RFC 9110 §14.4: closed positions, and always the numeric size, since stargz refuses `*`. */
export function contentRange(span: Span, size: number): string {
  return `bytes ${span.start}-${span.end - 1}/${size}`;
}

/** Header lines (name, value, name, value …) for `response.writeHead(status, lines)`. */
export function blobHeaders(head: BlobHead): string[] {
  const lines = [
    'Content-Length',
    String(head.length),
    'Content-Type',
    safeMediaType(head.mediaType),
    'Docker-Content-Digest',
    head.digest,
    'ETag',
    entityTag(head.digest),
    'X-Dragonfly-Task-ID',
    digestHex(head.digest),
  ];
  if (head.acceptRanges !== false) lines.push('Accept-Ranges', 'bytes');
  if (head.part !== undefined) lines.push('Content-Range', contentRange(head.part.span, head.part.size));
  if (head.source !== undefined) lines.push('X-Damselfly-Source', head.source);
  if (head.complete === true) lines.push('X-Dragonfly-Task-Download-Finished', 'true');
  if (head.namespace !== undefined) lines.push('OCI-Namespace', head.namespace);
  return lines;
}

/** Header lines of a 416 (RFC 9110 §15.5.17): it tells the size, so that the client can ask again. */
export function unsatisfiableHeaders(digest: Digest, size: number): string[] {
  return [
    'Content-Length',
    '0',
    'Content-Range',
    `bytes */${size}`,
    'Accept-Ranges',
    'bytes',
    'Docker-Content-Digest',
    digest,
  ];
}

/** Header lines of a 304 (RFC 9110 §15.4.5). */
export function notModifiedHeaders(digest: Digest): string[] {
  return ['ETag', entityTag(digest), 'Docker-Content-Digest', digest];
}
