import type { Digest } from '../blob/digest.ts';
import type { Upstream } from '../blob/upstream.ts';
import { Urgency } from '../blob/urgency.ts';
import { DamselflyError, OriginRefusal } from '../errors.ts';
import type { BlobFacts } from './verdict.ts';

/** The head of an origin's answer. */
export interface OriginAnswer {
  readonly status: number;
  /** Name, value, name, value …; hop-by-hop headers are removed already. */
  readonly rawHeaders: readonly string[];
  /** The first line of that name (lower case). */
  header(name: string): string | undefined;
  /** Of a refusal, bounded; absent after a HEAD. */
  readonly body?: Uint8Array | undefined;
}

export interface QuestionOptions {
  readonly signal: AbortSignal;
  readonly urgency: Urgency;
  readonly followRedirects: false;
}

/**
 * What access needs of an origin: the head of the blob or manifest at its own address, asked with the upstream's
 * credential. Where HEAD is refused (405, 501) it is that of a `GET` of `bytes=0-0`. Throws DamselflyError when no
 * answer came; a 4xx may also be thrown as OriginRefusal.
 */
export interface RightsOrigin {
  head(upstream: Upstream, digest: Digest, options: QuestionOptions): Promise<OriginAnswer>;
}

/**
 * Asks the origin whether this credential may read this blob. A redirect is a yes and is not followed: a signed URL is
 * often good for GET only.
 * @throws OriginRefusal for a 4xx; DamselflyError when the origin has no word on it.
 */
export async function askOrigin(
  origin: RightsOrigin,
  upstream: Upstream,
  digest: Digest,
  signal: AbortSignal,
): Promise<BlobFacts> {
  const options: QuestionOptions = { signal, urgency: new Urgency('demand'), followRedirects: false };
  return read(await origin.head(upstream, digest, options), upstream);
}

function read(answer: OriginAnswer, upstream: Upstream): BlobFacts {
  const { status } = answer;
  if (status >= 200 && status < 400) return factsOf(answer);
  if (status >= 400 && status < 500) {
    throw new OriginRefusal(status, answer.rawHeaders, answer.body ?? new Uint8Array(0));
  }
  throw new DamselflyError('origin-broken', `${upstream.origin} answered ${status} when asked for rights`, {
    facts: { origin: upstream.origin, status },
  });
}

function factsOf(answer: OriginAnswer): BlobFacts {
  // A redirect's length and type are those of its own page, and a coded length is not the blob's.
  if (answer.status !== 200 && answer.status !== 206) return {};
  const mediaType = answer.header('content-type');
  if (answer.status === 206) return { size: totalOf(answer), mediaType };
  const coded = answer.header('content-encoding') !== undefined;
  return { size: coded ? undefined : numberOf(answer.header('content-length')), mediaType };
}

/** RFC 9110 §14.4. */
function totalOf(answer: OriginAnswer): number | undefined {
  return numberOf(/^bytes \d+-\d+\/(\d+)$/.exec(answer.header('content-range') ?? '')?.[1]);
}

function numberOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}
