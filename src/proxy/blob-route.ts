import type { AccessGate } from '../access/access-gate.ts';
import type { BlobOwners } from '../access/blob-owners.ts';
import type { Digest } from '../blob/digest.ts';
import type { BlobInfo, Chunk, KnownBlob, SourceName } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import type { Upstream } from '../blob/upstream.ts';
import { Urgency } from '../blob/urgency.ts';
import type { Content } from '../content/content.ts';
import type { ReadContext, WantedBytes } from '../content/parts.ts';
import { hasCode, OriginRefusal } from '../errors.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { OriginClient } from '../origin/origin-client.ts';
import { answerHead, answerUnsatisfiable, type BlobAnswer, tooManyRanges } from './blob-answer.ts';
import type { BlobQuery } from './blob-query.ts';
import type { BlobSizes } from './blob-sizes.ts';
import type { BypassRoute } from './bypass-route.ts';
import { type Call, PLAIN_HEAD_MS } from './call.ts';
import { notModifiedHeaders } from './headers.ts';
import { entityTag, ifNoneMatchHits, ifRangeHolds } from './if-range.ts';
import { parseRangeBeforeSize, type RangeRequest, resolveRange } from './range.ts';
import { FIRST_BYTE, wantedBytes } from './wanted.ts';

const NO_RANGE: RangeRequest = { kind: 'none' };
/** A rights question of a ranged read: inside `proxy.headersTimeout`, with time left for the first byte. */
const ASK_SHARE = 0.8;
/** For the words of a refusal; without them its status and challenge still stand. */
const REFUSAL_BODY_MS = 1_000;

export interface BlobRouteParts {
  readonly gate: AccessGate;
  readonly content: Content;
  readonly sizes: BlobSizes;
  readonly origin: Pick<OriginClient, 'firstByte'>;
  readonly metrics: Metrics;
  readonly owners: BlobOwners;
  readonly answer: BlobAnswer;
  readonly bypass: BypassRoute;
  /**
   * Whether other nodes may have what is not here. Then the question is a HEAD and the bytes are theirs: a read as the question
   * would cost the origin a first run from each node of a crowd.
   */
  readonly hasPeers: () => boolean;
  /** `proxy.headersTimeout`: of ranged reads. */
  readonly headersTimeoutMs: number;
}

export interface BlobRouteOptions {
  /** Manifests: a Range on them is ignored, since some registries refuse it and clients take what comes (clients.md 5). */
  readonly ignoreRange: boolean;
}

/** GET and HEAD of a blob by digest (and of a manifest that is here already). */
export class BlobRoute {
  readonly #parts: BlobRouteParts;

  constructor(parts: BlobRouteParts) {
    this.#parts = parts;
  }

  async handle(
    call: Call,
    query: BlobQuery,
    options: BlobRouteOptions = { ignoreRange: false },
  ): Promise<void> {
    const range = options.ignoreRange ? NO_RANGE : this.#rangeOf(call, query);
    const headMs = range.kind === 'none' ? PLAIN_HEAD_MS : this.#parts.headersTimeoutMs;
    call.headWithin(headMs);
    call.countAsBlob();
    const asked = { ...query, upstream: await this.#asWhom(call, query) };
    try {
      if (!(await this.#isOurs(call, asked))) await this.#parts.bypass.handle(call, asked, range);
      else if (call.isHead) await this.#head(call, asked, headMs);
      else await this.#get(call, asked, range, headMs);
    } catch (error) {
      if (!hasCode(error, 'range-not-satisfiable')) throw error;
      answerUnsatisfiable(call, query.digest, Number(error.facts.size ?? 0));
    }
  }

  /**
   * Whether what is here under the digest may answer for this origin. A finished blob that came from another may, once
   * the requester's origin has shown that it has the same bytes; an unfinished one never does.
   * @throws OriginRefusal of the requester's origin.
   */
  async #isOurs(call: Call, { upstream, digest }: BlobQuery): Promise<boolean> {
    const { content, owners, bypass, gate } = this.#parts;
    const standing = owners.standing(upstream.origin, digest, content.isAnywhere(digest));
    if (standing === 'owner') return true;
    if (standing === 'free') {
      // A size that another origin told is no better than its bytes.
      content.forget(digest);
      owners.claim(upstream.origin, digest);
      return true;
    }
    const info = content.describe(digest);
    if (info === undefined || !content.isFinished(digest)) return false;
    if (!(await bypass.hasSameBytes(content, { digest, size: info.size }, upstream, call.signal)))
      return false;
    gate.learn(upstream, digest, 200);
    owners.admit(upstream.origin, digest);
    return true;
  }

  /** A finished blob needs nobody's credential but to be known: the token endpoint may be down then. */
  async #asWhom(call: Call, { upstream, digest }: BlobQuery): Promise<Upstream> {
    const { gate, content } = this.#parts;
    try {
      return await gate.effective(upstream, call.signal);
    } catch (error) {
      if (call.signal.aborted || !content.isFinished(digest)) throw error;
      return upstream;
    }
  }

  async #head(call: Call, query: BlobQuery, headMs: number): Promise<void> {
    const { gate, content, sizes } = this.#parts;
    let info = content.describe(query.digest);
    if (!gate.known(query.upstream, query.digest)) {
      const facts = await this.#ask(call, query, headMs);
      if (info === undefined && facts.size !== undefined)
        info = { size: facts.size, mediaType: facts.mediaType };
    }
    info ??= await sizes.ask(query.upstream, query.digest, call.signal);
    answerHead(call, query, info);
  }

  async #get(call: Call, query: BlobQuery, range: RangeRequest, headMs: number): Promise<void> {
    const context = this.#context(call, query);
    const wanted = wantedBytes(range) ?? FIRST_BYTE;
    const opened = [await this.#authorise(call, query, wanted, context, headMs)];
    const release = (): void => {
      for (const close of opened.splice(0)) close();
    };
    try {
      if (ifNoneMatchHits(call.header('if-none-match'), entityTag(query.digest))) {
        call.writeHead(304, notModifiedHeaders(query.digest));
        call.response.end();
        return;
      }
      const { info, close } = await this.#info(query, range, wanted, context);
      opened.push(close);
      const answer = resolveRange(range, info.size);
      if (answer.kind === 'unsatisfiable') return answerUnsatisfiable(call, query.digest, info.size);
      if (answer.kind === 'too-many') throw tooManyRanges(info.size);
      const spans = answer.kind === 'spans' ? answer.spans : [];
      await this.#send(call, query, info, spans, context, release);
    } finally {
      release();
    }
  }

  /**
   * Rights before anything else. Where the wanted byte is not on the node and there are no peers, the read itself is the
   * question: the origin gets one request and not two.
   * @returns lets go of that read; call it once a reader has joined it, or when there will be none.
   */
  async #authorise(
    call: Call,
    query: BlobQuery,
    wanted: WantedBytes,
    context: ReadContext,
    headMs: number,
  ): Promise<() => void> {
    const { gate, content } = this.#parts;
    const { upstream, digest } = query;
    if (gate.known(upstream, digest)) return () => undefined;
    const size = content.describe(digest)?.size;
    const isOnNode = content.isNear(digest, wanted.start) || (size !== undefined && wanted.start >= size);
    const isPending = gate.isPending(upstream, digest);
    if (isPending && context.urgency === 'demand') content.hurry(digest);
    if (isOnNode || isPending || this.#parts.hasPeers()) {
      await this.#ask(call, query, headMs);
      return () => undefined;
    }
    const opening = content.openAsCheck({ digest, size }, wanted, context);
    call.signal.addEventListener('abort', opening.close, { once: true });
    const release = (): void => {
      call.signal.removeEventListener('abort', opening.close);
      opening.close();
    };
    try {
      const verdict = await gate.during(upstream, digest, opening.verdict);
      if (verdict.kind === 'refused') throw verdict.refusal;
      if (verdict.kind === 'unreachable') throw verdict.error;
      return release;
    } catch (error) {
      release();
      call.signal.throwIfAborted();
      throw error;
    }
  }

  async #ask(
    call: Call,
    { upstream, digest }: BlobQuery,
    headMs: number,
  ): Promise<{ size?: number | undefined; mediaType?: string | undefined }> {
    const verdict = await this.#parts.gate.ask(upstream, digest, call.signal, {
      patienceMs: headMs * ASK_SHARE,
    });
    if (verdict.kind === 'refused') throw await this.#inFull(call, upstream, digest, verdict.refusal);
    if (verdict.kind === 'unreachable') throw verdict.error;
    return verdict;
  }

  /**
   * The question was a HEAD, so a refusal came without its body. A GET gets the one that the origin has for a GET:
   * else its absence would tell a stranger that the blob is on this node.
   */
  async #inFull(
    call: Call,
    upstream: Upstream,
    digest: Digest,
    refusal: OriginRefusal,
  ): Promise<OriginRefusal> {
    if (call.isHead || refusal.body.length > 0) return refusal;
    const signal = AbortSignal.any([call.signal, AbortSignal.timeout(REFUSAL_BODY_MS)]);
    const options = { signal, urgency: new Urgency('demand'), followRedirects: false };
    try {
      const { status, rawHeaders, body } = await this.#parts.origin.firstByte(upstream, digest, options);
      // A 416 is no refusal: it is a yes to an empty blob.
      const refuses = status >= 400 && status < 500 && status !== 416;
      return refuses ? new OriginRefusal(status, rawHeaders, body ?? new Uint8Array(0)) : refusal;
    } catch {
      return refusal;
    }
  }

  async #info(
    query: BlobQuery,
    range: RangeRequest,
    wanted: WantedBytes,
    context: ReadContext,
  ): Promise<{ info: BlobInfo; close(): void }> {
    const { content, sizes } = this.#parts;
    if (wantedBytes(range) !== null)
      return content.learn({ digest: query.digest, size: undefined }, wanted, context);
    const known =
      content.describe(query.digest) ?? (await sizes.ask(query.upstream, query.digest, context.signal));
    return { info: known, close: () => undefined };
  }

  /** @param spans none for the whole blob. */
  async #send(
    call: Call,
    query: BlobQuery,
    info: BlobInfo,
    spans: readonly Span[],
    context: ReadContext,
    release: () => void,
  ): Promise<void> {
    const { content, metrics } = this.#parts;
    const blob: KnownBlob = { digest: query.digest, size: info.size };
    let source: SourceName | undefined;
    const tracking: ReadContext = {
      ...context,
      onChunk: (from, bytes) => {
        source ??= from;
        metrics.traffic.served(from, bytes);
      },
    };
    const open = (span: Span): AsyncGenerator<Chunk, void, void> => {
      const covers = span.start === 0 && span.end === info.size;
      return content.read(blob, span, tracking, { whole: covers, open: span.end === info.size });
    };
    await this.#parts.answer.send(call, {
      query,
      info,
      spans,
      open,
      source: () => source,
      isFinished: () => content.isFinished(query.digest),
      // The first chunk is there: its source is known, and the reader has joined the flight that was the check.
      onHead: (single) => {
        release();
        if (single === undefined) return;
        const missed = source !== 'memory' && source !== 'disk';
        content.anticipate(blob, single, { missed, hinted: call.hints.prefetch }, context);
      },
    });
  }

  #context(call: Call, { upstream }: BlobQuery): ReadContext {
    return { upstream, urgency: call.hints.urgency, signal: call.signal };
  }

  /** A Range on a HEAD means nothing (RFC 9110 §14.2), and one under a failed If-Range is ignored. */
  #rangeOf(call: Call, { digest }: BlobQuery): RangeRequest {
    if (call.isHead || !ifRangeHolds(call.header('if-range'), entityTag(digest))) return NO_RANGE;
    return parseRangeBeforeSize(call.header('range'));
  }
}
